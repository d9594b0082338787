"""A topic read from its beginning to its end, on a real broker: whatever transactions left in it."""

import asyncio
import threading
import uuid

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from connectors.kafka.options import client_options
from connectors.kafka.snapshot import read_topic

pytestmark = pytest.mark.stack
BOUND_S = 60


@pytest.fixture
async def topic(bench):
    name = f"{bench.kafka.topic_prefix}.snapshot"
    future = bench.admin.create_topics([NewTopic(name, 3, 1)])[name]
    await asyncio.to_thread(future.result, 30)
    yield name
    for future in bench.admin.delete_topics([name]).values():
        await asyncio.to_thread(future.result, 30)


def transaction(bench, topic, values, end):
    """Records of one transaction that is committed, aborted or left open; returns its producer."""
    producer = Producer(client_options(bench.kafka) | {"transactional.id": str(uuid.uuid4())})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition, value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0
    if end is not None:
        getattr(producer, f"{end}_transaction")(30)
    return producer


async def read(bench, topic, places=None):
    """In a thread of its own, which ends with the test run should it never end by itself."""
    done, result = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work():
        result.append(list(read_topic(bench.kafka, topic, places)))
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, daemon=True).start()
    await asyncio.wait_for(done.wait(), BOUND_S)
    return sorted(value for _, value in result[0])


async def test_what_is_committed_is_read_whatever_stands_behind_it(bench, topic):
    many = [(number % 2, b"%04d" % number) for number in range(2500)]
    await asyncio.to_thread(transaction, bench, topic, many, "commit")  # its marker is the last thing of each partition
    expected = [value for _, value in many]
    assert await read(bench, topic) == expected
    await asyncio.to_thread(transaction, bench, topic, [(0, b"a"), (2, b"b")], "abort")  # partition 2 has nothing else
    assert await read(bench, topic) == expected
    opened = await asyncio.to_thread(transaction, bench, topic, [(1, b"c")], None)
    assert await read(bench, topic) == expected
    await asyncio.to_thread(opened.abort_transaction, 30)


async def test_who_read_before_reads_what_is_new_and_all_of_what_became_shorter(bench, topic):
    places = {}
    await asyncio.to_thread(transaction, bench, topic, [(0, b"a"), (1, b"b")], "commit")
    assert await read(bench, topic, places) == [b"a", b"b"]
    assert await read(bench, topic, places) == []
    await asyncio.to_thread(transaction, bench, topic, [(0, b"c"), (2, b"d")], "commit")
    await asyncio.to_thread(transaction, bench, topic, [(0, b"e")], "abort")
    assert await read(bench, topic, places) == [b"c", b"d"]
    assert await read(bench, topic, places) == []
    places[0] += 1000
    assert await read(bench, topic, places) == [b"a", b"c"]
    assert await read(bench, topic, places) == []
    # What stands at the beginning, or where it would go on, may be deleted by retention.
    at = TopicPartition(topic, 0, places[0] - 1)
    await asyncio.to_thread(bench.admin.delete_records([at])[at].result, 30)
    await asyncio.to_thread(transaction, bench, topic, [(0, b"f")], "commit")
    places[0] = 1
    assert await read(bench, topic, places) == [b"f"]
