"""A record that is no dispatch: in the dead-letter topic as it came, and in a row, before its offset moves."""

import asyncio

import psycopg
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from support.streams import until

from connectors.kafka.producer import RecordProducer, RecordTooLargeError
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from connectors.telemetry.tracing import Tracing
from schemas.errors import ErrorCode, MedialaneError
from schemas.headers import RECORD_HEADERS
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings
from schemas.states import MediaKind
from schemas.topics import DEAD_LETTERS, IMAGE_JOBS
from streams.core.ledger import Partition
from streams.dead_letters import DeadLetters, Undecodable
from streams.faust_app import Record
from streams.media.handler import MediaHandler
from streams.media.worker import MediaWorker

pytestmark = pytest.mark.stack


class NoJobs:
    async def claim(self, record, traceparent):
        raise AssertionError("nothing here is a dispatch")


class Flaky:
    """A producer that fails first, and looks at what is committed whenever it is asked."""

    def __init__(self, real, failures, committed):
        self.real, self.failures, self.committed = real, failures, committed
        self.seen = []

    async def send(self, topic, **record):
        self.seen.append(await asyncio.to_thread(self.committed))
        if self.failures:
            self.failures -= 1
            raise MedialaneError(ErrorCode.BROKER_UNAVAILABLE)
        await self.real.send(topic, **record)


async def test_the_offset_moves_after_the_confirmation(bench, database):
    group, prefix = bench.group(), bench.kafka.topic_prefix
    topic, dead = await bench.topic(name=IMAGE_JOBS.name(prefix)), await bench.topic(name=DEAD_LETTERS.name(prefix))
    tracing = Tracing("test", exporter=InMemorySpanExporter())
    producer = Flaky(RecordProducer(bench.kafka, tracing), 2, lambda: bench.committed(group, topic))
    async with Database(DatabaseSettings(url=database.worker), application="test") as pool:
        metrics = Metrics(CollectorRegistry(), process="media-images")
        letters = DeadLetters(producer, pool, tracing, topic=dead, group=group)
        handler = MediaHandler(NoJobs(), letters, metrics, topic=topic, route=IMAGE_JOBS.route, group=group)
        worker = MediaWorker(handler, bench.kafka, bench.worker, metrics, kind=MediaKind.IMAGE, group=group, slots=2)
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        headers = [("traceparent", trace.encode()), ("twice", b"1"), ("twice", b"\xff\x00"), ("none", None)]
        await asyncio.to_thread(bench.send, topic, b"\x00not a dispatch", b"key", headers)
        task = asyncio.create_task(worker.member.run())
        try:
            await until(lambda: bench.committed(group, topic) == 1, "the record is done with")
        finally:
            await worker.drain(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    # Under the name that it has where a job's end is counted, whatever the installation's prefix.
    assert 'media_dlq_messages_total{reason="undecodable_record",topic="jobs.image"} 1.0' in metrics.render().decode()
    assert len(producer.seen) == 3
    assert not any(producer.seen), "nothing was committed past the record before the confirmation"

    (letter,) = await asyncio.to_thread(bench.read_all, dead, 1)
    assert letter.value() == b"\x00not a dispatch"
    assert letter.key() == b"key"
    names = dict(letter.headers())
    assert [value for name, value in letter.headers() if name == "twice"] == [b"1", b"\xff\x00"]
    assert names["none"] is None
    assert names["__dlq.errors.topic"] == topic.encode()
    assert (names["__dlq.errors.partition"], names["__dlq.errors.offset"]) == (b"0", b"0")
    assert names["__dlq.errors.message"]
    assert names["medialane_code"] == b"undecodable_record"
    assert names["medialane_original_traceparent"] == trace.encode()
    assert [name for name, _ in letter.headers()].count("traceparent") == 1
    assert names["traceparent"].decode().split("-")[1] == "a" * 32, "still in its trace"

    with psycopg.connect(database.owner) as connection:
        rows = connection.execute("SELECT kpart, koffset, key, value, code FROM dead_letters").fetchall()
    assert rows == [(0, 0, b"key", b"\x00not a dispatch", "undecodable_record")]


class Strict:
    """A topic that takes neither this key nor these headers."""

    def __init__(self):
        self.asked = []

    async def send(self, topic, *, key, value, headers):
        self.asked.append((key, value, dict(headers)))
        raise RecordTooLargeError(topic)


async def test_a_record_that_its_topic_never_takes_is_in_its_row(database):
    """Nobody else has it: its offset moves, and no row owns any work of it."""
    topic = f"odd-{uuid7().hex}"
    record = Record(Partition(topic, 0), 7, b"key\0", b"no dispatch \0", (("odd\0name", b"a\0b"),), 0.0)
    producer = Strict()
    async with Database(DatabaseSettings(url=database.worker), application="test") as pool:
        dead_letters = DeadLetters(producer, pool, Tracing("test"), topic="dead", group="g")
        await dead_letters.write(Undecodable("unknown value 'x\0'", record))
    assert [(key, value) for key, value, _ in producer.asked] == [
        (b"key\0", b"no dispatch \0"), (b"key\0", None), (None, None),
    ]  # fmt: skip
    assert not any("\0" in name for _, _, headers in producer.asked for name in headers)
    assert {name for _, _, headers in producer.asked for name in headers} - {"odd\\0name"} < set(RECORD_HEADERS)
    with psycopg.connect(database.owner) as connection:
        query = "SELECT koffset, key, value, detail FROM dead_letters WHERE topic = %s"
        assert connection.execute(query, [topic]).fetchall() == [
            (7, b"key\0", b"no dispatch \0", "unknown value 'x\\0'")
        ]


async def test_a_broker_that_does_not_answer_is_a_typed_error(bench):
    nowhere = type(bench.kafka)(brokers="127.0.0.1:1")
    producer = RecordProducer(nowhere, Tracing("test"), timeout_s=1.0)
    with pytest.raises(MedialaneError) as caught:
        await producer.send("anything", key=None, value=b"x", headers=[])
    assert caught.value.code is ErrorCode.BROKER_UNAVAILABLE
