"""Judges a run by what it left behind: Kafka, Postgres, the receiver's log and the bucket with its versions.

Shares no code with the product: only the standard library, psycopg, confluent-kafka and boto3 (a test holds it to that).
"""
