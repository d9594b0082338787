"""The outside world: Postgres, Kafka, Connect, the object store, outgoing HTTP, telemetry."""
