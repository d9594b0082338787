"""A transaction that hangs is found and ended by Kafka's own tool, as the runbook and the harness have it."""

import asyncio
import os
import shutil
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness.transactions import abort_hanging, lost_markers, table
from support.stack import release, runs_own

from cli.stack import Stack
from cli.stack.layout import layout

TOPIC, NUMBER = "media.events", 2
HEAD = "Topic\tPartition\tProducerId\tProducerEpoch\tCoordinatorEpoch\tStartOffset\tLastTimestamp\tDuration(min)\n"


def test_nothing_hangs():
    assert table("") == table(HEAD) == []


@pytest.fixture
def stack():
    folder = runs_own(os.getpid(), "hanging")
    with Stack.start(folder, parts=("kafka",), owner=os.getpid()) as started:
        yield started
    release(folder)


@pytest.mark.stack
async def test_what_no_coordinator_knows_is_ended_and_what_one_does_is_left(stack):
    brokers = f"127.0.0.1:{stack.state.ports['kafka']}"
    bed = SimpleNamespace(stack=stack, direct_brokers=brokers)
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    await asyncio.to_thread(admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result, 30)
    producer = Producer(
        {"bootstrap.servers": brokers, "transactional.id": "x", "transaction.timeout.ms": 600_000, "log_level": 0}
    )
    await asyncio.to_thread(producer.init_transactions, 30)
    producer.begin_transaction()
    producer.produce(TOPIC, b"", partition=NUMBER)
    await asyncio.to_thread(producer.flush, 30)
    assert await abort_hanging(bed) == []

    # The coordinator forgets it, as it does when it took the markers for written.
    await asyncio.to_thread(stack.kill, "kafka")
    for partition in layout(stack.folder).data("kafka").rglob("__transaction_state-*"):
        shutil.rmtree(partition)
    await asyncio.to_thread(stack.start_part, "kafka")
    assert await asyncio.to_thread(readable, brokers) == 0
    assert await abort_hanging(bed) == [f"{TOPIC}/{NUMBER}"]
    assert await asyncio.to_thread(readable, brokers) == 2, "the record and the marker that ends it"
    assert await abort_hanging(bed) == []
    assert lost_markers(bed) == 0


def readable(brokers):
    """Up to where whoever reads committed records may read."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "t", "isolation.level": "read_committed"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(TOPIC, NUMBER), timeout=30)[1]
    finally:
        consumer.close()
