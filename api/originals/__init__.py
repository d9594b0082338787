"""The upload itself, as it was completed, for whoever has a key."""
