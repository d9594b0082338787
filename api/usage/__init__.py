"""What a tenant used: `/api/v1/usage`."""
