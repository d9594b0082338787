"""Kafka: topic administration and the client options that every connection shares."""
