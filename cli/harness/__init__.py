"""What demo, benches, fault runs and tests share: a client's acts, a receiver, a reader of Kafka, the rows behind."""
