"""Upload addresses: `POST /api/v1/storage/presign`."""
