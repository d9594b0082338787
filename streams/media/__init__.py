"""Media workers: dispatches from Kafka, jobs from Postgres, variants to the object store."""
