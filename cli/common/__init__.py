"""What several commands share: ages as they are typed, the database under the operators' role, the door to the API."""
