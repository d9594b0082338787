"""What everything speaks: events, states, error codes, profiles, topics, settings, metrics.

Imports only the standard library and msgspec, so that every other package may import it.
"""
