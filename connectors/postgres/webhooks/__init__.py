"""Webhook endpoints and deliveries: registered, made, leased, settled, looked at, sent again, removed."""
