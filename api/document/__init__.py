"""The OpenAPI document: as it is served, as it is published, and made without a running API."""
