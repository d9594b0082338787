"""Usage as an API process holds it: what is new is read once, and while Kafka is away one read tells all who ask."""

import asyncio
import json
import tracemalloc
import uuid
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from api.usage import service
from api.usage.service import UsageReader
from api.usage.table import Entries
from connectors.kafka.admin import TopicsError
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KafkaSettings
from schemas.usage import Counts, Entry, StageCounts

DAY = date(2026, 3, 4)
TENANT = str(uuid.UUID(int=1))


def key(hour=0, *, day=DAY, partition=0, tenant=TENANT):
    start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp()
    return json.dumps([f"{tenant}/{partition}", [start, start + 3600]]).encode()


def value(jobs, *, offset=0, topic_id="t"):
    counts = Counts(
        jobs_done=jobs, cpu_s=jobs / 4, bytes_in=1 << 40, longest_wait_s=jobs / 2,
        stages={"image.primary": StageCounts(jobs_done=jobs, cpu_s=jobs / 4)},
    )  # fmt: skip
    return msgspec.json.encode(Entry(counts=counts, topic_id=topic_id, offset=offset))


def jobs_by_day(entries, since=DAY, tenant=TENANT):
    return {day: counts.jobs_done for day, counts in entries.by_day(tenant, since).items()}


def test_a_day_is_the_sum_of_its_windows_in_all_partitions():
    entries = Entries()
    entries.take([(key(hour, partition=number), value(3)) for hour in (0, 23) for number in (0, 1)])
    entries.take([(key(1, day=DAY + timedelta(1)), value(5)), (key(2, tenant="other"), value(7))])
    found = entries.by_day(TENANT, DAY)
    assert found[DAY] == Counts(
        jobs_done=12, cpu_s=3.0, bytes_in=4 << 40, longest_wait_s=1.5,
        stages={"image.primary": StageCounts(jobs_done=12, cpu_s=3.0)},
    )  # fmt: skip
    assert jobs_by_day(entries) == {DAY: 12, DAY + timedelta(1): 5}
    assert jobs_by_day(entries, DAY + timedelta(1)) == {DAY + timedelta(1): 5}


@pytest.mark.parametrize("sizes", [(2,), (1, 1)], ids=["at once", "one after the other"])
@pytest.mark.parametrize(
    ("written", "stands"),
    [
        ([(2, 5, "t"), (3, 9, "t")], 3),
        ([(3, 9, "t"), (2, 5, "t")], 3),  # a process that was given up wrote last
        ([(3, 9, "t"), (4, 1, "anew")], 4),  # the events' topic was made anew: its offsets begin again
    ],
)
def test_of_two_values_of_an_entry_the_one_with_more_events_stands(written, stands, sizes):
    entries = Entries()
    records = [(key(), value(jobs, offset=offset, topic_id=topic_id)) for jobs, offset, topic_id in written]
    for size in sizes:
        entries.take(records[:size])
        del records[:size]
    assert jobs_by_day(entries) == {DAY: stands}


def test_what_was_deleted_is_gone_and_may_come_again():
    entries = Entries()
    entries.take([(key(), value(3, offset=9)), (key(1), value(1)), (key(), None)])
    assert jobs_by_day(entries) == {DAY: 1}
    entries.take([(key(), value(2, offset=5))])
    assert jobs_by_day(entries) == {DAY: 3}


def test_windows_that_nobody_may_ask_for_are_neither_kept_nor_taken_in():
    entries, before = Entries(), DAY - timedelta(1)
    entries.take([(key(day=before), value(1)), (key(), value(2)), (key(day=before, tenant="gone"), value(1))])
    entries.forget_before(DAY)
    entries.take([(key(1, day=before), value(1)), (key(1), value(3))])
    assert jobs_by_day(entries, date(2000, 1, 1)) == {DAY: 5}
    assert jobs_by_day(entries, date(2000, 1, 1), tenant="gone") == {}


def test_an_entry_takes_a_fraction_of_its_record():
    count = 20_000
    tracemalloc.start()
    try:
        entries = Entries()
        before, _ = tracemalloc.get_traced_memory()
        entries.take(
            (key(number % 24, partition=number // 24 % 8, tenant=str(uuid.UUID(int=number // 192))), value(41))
            for number in range(count)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (peak - before) / count < 250


class Kafka:
    """A topic with one partition, which may be made anew or be away."""

    def __init__(self, monkeypatch):
        self.id = "first"
        self.records = []
        self.reads = []
        self.away = False
        monkeypatch.setattr(service, "read_topic", self.read)
        monkeypatch.setattr(service, "TopicAdmin", lambda *_, **__: self)

    async def topic_id(self, _topic):
        if self.away:
            self.reads.append(None)
            raise TopicsError("the broker does not answer")
        return self.id

    def read(self, _kafka, _topic, places):
        place = places.get(0, 0)
        self.reads.append(place)
        yield from self.records[place:]
        places[0] = len(self.records)

    def made_anew(self, *records):
        self.id, self.records = "second", list(records)


@pytest.fixture
def kafka(monkeypatch):
    return Kafka(monkeypatch)


@pytest.fixture
def reader(kafka):
    return UsageReader(KafkaSettings(brokers="127.0.0.1:1"))


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(service, "_BELIEVED_S", -1)


async def test_only_what_is_new_is_read_again(kafka, reader, at_once):
    today = datetime.now(UTC).date()
    kafka.records = [(key(day=today), value(2, offset=1)), (key(1, day=today), value(1, offset=2))]

    async def jobs():
        return (await reader.read(uuid.UUID(TENANT), 7)).total.jobs_done

    assert await jobs() == 3
    kafka.records.append((key(day=today), value(5, offset=7)))
    assert [await jobs(), await jobs()] == [6, 6]
    assert kafka.reads == [0, 2, 3]
    kafka.made_anew(*[(key(hour, day=today), value(1)) for hour in range(2, 6)])
    assert [await jobs(), await jobs()] == [4, 4]
    assert kafka.reads == [0, 2, 3, 0, 4]


async def test_what_is_read_is_believed_for_a_while(kafka, reader):
    await asyncio.gather(*(reader.read(uuid.uuid4(), 7) for _ in range(20)))
    assert kafka.reads == [0]


async def test_a_failed_read_answers_those_who_waited_and_those_who_come_soon(kafka, reader, monkeypatch):
    kafka.away = True

    async def ask():
        with pytest.raises(MedialaneError) as caught:
            await reader.read(uuid.uuid4(), 7)
        return caught.value.code

    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert (answers, len(kafka.reads)) == ([ErrorCode.BROKER_UNAVAILABLE] * 20, 1)
    assert (await ask(), len(kafka.reads)) == (ErrorCode.BROKER_UNAVAILABLE, 1)

    kafka.away = False
    monkeypatch.setattr(service, "_BELIEVED_S", -1)
    assert (await reader.read(uuid.uuid4(), 7)).days == ()
    assert len(kafka.reads) == 2


async def test_a_read_that_breaks_off_is_made_up_for(kafka, reader, at_once, monkeypatch):
    today = datetime.now(UTC).date()
    kafka.records = [(key(hour, day=today), value(1)) for hour in range(3)]
    whole = kafka.read

    def breaking(settings, topic, places):
        records = whole(settings, topic, places)
        yield next(records)
        raise TopicsError("nothing came")

    monkeypatch.setattr(service, "read_topic", breaking)
    with pytest.raises(MedialaneError):
        await reader.read(uuid.UUID(TENANT), 7)
    monkeypatch.setattr(service, "read_topic", whole)
    assert (await reader.read(uuid.UUID(TENANT), 7)).total.jobs_done == 3
