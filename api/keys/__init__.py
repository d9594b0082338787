"""API keys: `/api/v1/keys`."""
