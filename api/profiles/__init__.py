"""What is made of a tenant's uploads: `/api/v1/profiles`."""
