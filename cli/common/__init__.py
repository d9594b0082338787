"""What several commands share: ages and entries as they are typed, the database under the operators' role, the door to
the API, bars of files on their way, what strangers said.
"""
