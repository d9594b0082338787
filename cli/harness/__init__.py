"""What demo, benches, fault runs, tests and `webhooks listen` share: a client's acts, a receiver, a reader of Kafka,
the rows behind.
"""
