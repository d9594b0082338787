"""What was sent to webhook endpoints: `/api/v1/webhooks/{id}/deliveries` and `/recover`."""
