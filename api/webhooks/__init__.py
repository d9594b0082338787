"""Webhook endpoints: `/api/v1/webhooks`."""
