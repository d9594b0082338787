"""The agent as a process of its own, between a real broker, a real database and a real receiver."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from support.processes import end

from schemas.topics import DEAD_LETTERS, EVENTS
from streams.webhooks.app import group_name

from .conftest import KEY

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def environment(database, kafka, tmp_path):
    return {
        "PATH": os.environ["PATH"],
        "MEDIALANE_DATABASE_URL": database.worker,
        "MEDIALANE_KAFKA_BROKERS": kafka.brokers,
        "MEDIALANE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "MEDIALANE_WEBHOOK_ENCRYPTION_KEY": KEY,
        "MEDIALANE_WEBHOOK_ALLOW_PRIVATE": "true",
        "MEDIALANE_WEBHOOK_TIMEOUT_S": "4",
        "MEDIALANE_WEBHOOK_LEASE_S": "5",
        "MEDIALANE_WORKER_TEMP_DIR": str(tmp_path / "work"),
        "MEDIALANE_WORKER_SESSION_TIMEOUT_S": "6",
        "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "3",
    }


@asynccontextmanager
async def agent(environment):
    """A running `medialane run webhooks`; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "run", "webhooks", env=environment, stderr=asyncio.subprocess.PIPE
    )
    lines = []

    async def read():
        lines.extend([line.decode() async for line in process.stderr])

    reading = asyncio.create_task(read())
    process.lines = lines
    try:
        yield process
    finally:
        await end(process)
        await reading
        print("".join(lines[-50:]))  # shown by pytest when the test fails


def produce(kafka, *records):
    """Put (key, value, headers) records into the events topic, all on one partition, confirmed."""
    producer = Producer({"bootstrap.servers": kafka.brokers, "acks": "all"})
    for key, value, headers in records:
        producer.produce(EVENTS.name(kafka.topic_prefix), key=key, value=value, headers=headers, partition=0)
    assert producer.flush(90) == 0


def of(event):
    return str(event.envelope.asset_id).encode(), event.value, [("traceparent", PARENT.encode())]


def committed(kafka):
    """The group's committed offset on the partition that `produce` writes to."""
    consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": group_name(kafka)})
    try:
        (found,) = consumer.committed([TopicPartition(EVENTS.name(kafka.topic_prefix), 0)], timeout=60)
        return found.offset
    finally:
        consumer.close()


def dead_letters(kafka, count):
    """The first records of the dead-letter topic."""
    topic = DEAD_LETTERS.name(kafka.topic_prefix)
    consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": "reader", "auto.offset.reset": "earliest"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [record for record in consumer.consume(count, timeout=90) if record.error() is None]
    finally:
        consumer.close()


async def test_events_in_webhooks_out_and_what_is_no_event_to_the_dead_letters(world, kafka, environment, receiver):
    await world.endpoint(receiver.url())
    first, second = world.event(), world.event()
    produce(kafka, of(first), (b"key", b"\xffno event", [("x", b"1"), ("x", b"2")]), of(second))
    async with agent(environment) as process:
        await receiver.wait_for(lambda got: len(got) == 2, timeout_s=90)
        await world.settled("delivered", "delivered")
        (letter,) = await asyncio.to_thread(dead_letters, kafka, 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 90) == 0
    assert {got.message_id for got in receiver.received} == {str(first.envelope.id), str(second.envelope.id)}
    for got in receiver.received:
        got.verify(world.secret)
        assert got.trace_id == PARENT.split("-")[1]
    assert (letter.key(), letter.value()) == (b"key", b"\xffno event")
    headers = letter.headers()
    assert headers[:2] == [("x", b"1"), ("x", b"2")]
    assert dict(headers)["medialane_code"] == b"undecodable_record"
    assert await asyncio.to_thread(committed, kafka) == 3
    lines = [msgspec.json.decode(line) for line in process.lines]
    assert any(line["event"] == "process stopped" for line in lines)


async def test_killed_in_the_middle_of_a_post_it_is_sent_again_under_the_same_id(world, kafka, environment, receiver):
    await world.endpoint(receiver.url())
    receiver.hang_next(1)
    event = world.event()
    produce(kafka, of(event))
    async with agent(environment) as victim:
        await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
        victim.kill()
        await victim.wait()
    async with agent(environment):
        await receiver.wait_for(lambda got: len(got) == 2, timeout_s=90)
        await world.settled("delivered")
    first, second = receiver.received
    assert first.message_id == second.message_id == str(event.envelope.id)
    assert first.body == second.body
    assert [(a["attempt"], a["outcome"]) for a in await world.attempts()] == [(1, None), (2, "delivered")]


async def test_a_setting_that_is_missing_names_itself(environment):
    del environment["MEDIALANE_WEBHOOK_ENCRYPTION_KEY"]
    async with agent(environment) as process:
        assert await asyncio.wait_for(process.wait(), 90) == 2
    assert "MEDIALANE_WEBHOOK_ENCRYPTION_KEY is not set" in "".join(process.lines)
