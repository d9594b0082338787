"""The keeper: emits again what is due, expired or unclaimed, tends the outbox, and watches the connector."""
