"""What happens to an asset, as it happens: server-sent events, and reads that wait."""
