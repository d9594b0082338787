"""Assets from remote addresses: `POST /api/v1/assets`."""
