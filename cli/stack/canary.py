"""What ready means: a row written to the outbox has come out of Kafka."""

import asyncio
import time
from uuid import UUID, uuid4

import psycopg
from confluent_kafka import Consumer, TopicPartition

from cli.stack.errors import StackError
from connectors.kafka.options import client_options
from schemas.settings import KafkaSettings
from schemas.topics import CANARY

_INSERT = """
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, type, kpart, payload)
    VALUES (%s, %s, 'stack', 'stack', 'canary', 0, '{}')
"""


async def send_canary(database_url: str, kafka: KafkaSettings, *, timeout_s: float) -> float:
    """Seconds from the row's commit to its record in a consumer that reads committed records only.

    Raises `StackError` when it does not arrive in time. The database role must be allowed to add to the outbox.
    """
    identifier = uuid4()
    deadline = time.monotonic() + timeout_s
    consumer = await asyncio.to_thread(_consumer, kafka)
    try:
        committed = await _insert(database_url, identifier)
        arrived = await asyncio.to_thread(_await_record, consumer, identifier, deadline)
    finally:
        await asyncio.to_thread(consumer.close)
    if arrived is None:
        raise StackError(f"the canary row did not reach {CANARY.name(kafka.topic_prefix)} in {timeout_s:.0f} s")
    return arrived - committed


async def slot_active(database_url: str, slot: str) -> bool:
    """Whether a connector holds the replication slot right now."""
    async with await psycopg.AsyncConnection.connect(database_url, connect_timeout=5) as connection:
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
        row = await (await connection.execute(query, (slot,))).fetchone()
        return bool(row and row[0])


async def _insert(database_url: str, identifier: UUID) -> float:
    async with await psycopg.AsyncConnection.connect(database_url, connect_timeout=5, autocommit=True) as connection:
        await connection.execute(_INSERT, (identifier, CANARY.route))
        return time.monotonic()


def _consumer(kafka: KafkaSettings) -> Consumer:
    consumer = Consumer(
        {
            **client_options(kafka),
            "group.id": "medialane-canary",  # required by the client; never joined, nothing is committed
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
        }
    )
    # Read from where the topic ends now, and before the row is written: nothing can be missed.
    partition = TopicPartition(CANARY.name(kafka.topic_prefix), 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=10)
    partition.offset = end
    consumer.assign([partition])
    return consumer


def _await_record(consumer: Consumer, identifier: UUID, deadline: float) -> float | None:
    wanted = ("ce_id", str(identifier).encode())
    while (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(min(left, 0.5))
        if message is not None and message.error() is None and wanted in (message.headers() or []):
            return time.monotonic()
    return None
