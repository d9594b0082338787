"""Usage on a real broker: the process is killed in the middle, again and again, and every event is counted once."""

import asyncio
import datetime as dt
import os
import random
import re
import signal
import sys
import urllib.request
import uuid

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec
from support.streams import until

from connectors.kafka.options import client_options
from connectors.kafka.snapshot import read_topic
from schemas.events import JobDone, JobStarted, encode_event
from schemas.states import Stage
from schemas.topics import EVENTS, USAGE
from schemas.usage import Counts, StageCounts, by_tenant, read_changelog

pytestmark = pytest.mark.stack
PARTITIONS = 4
TENANTS = [uuid.UUID(int=number) for number in (1, 2, 3)]
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
BOUND_S = 150


class Bed:
    """The two topics, a transactional producer of events, and the process as it is run."""

    def __init__(self, bench, folder):
        self.bench = bench
        self.folder = folder
        self.group = f"{bench.kafka.topic_prefix}-usage"
        self.events, self.changelog = (topic.name(bench.kafka.topic_prefix) for topic in (EVENTS, USAGE))
        self.sent: list[JobDone | JobStarted] = []
        self.processes = []
        self.source = random.Random(7)
        self.placed: dict[uuid.UUID, int] = {}  # an asset's events, and so what comes again, keep their partition

    async def make(self, *names):
        for name in names:
            config = {"cleanup.policy": "compact"} if name == self.changelog else {}
            future = self.bench.admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config)])[name]
            await asyncio.to_thread(future.result, 30)

    async def send(self, count):
        """Events of several tenants and windows, in transactions of ten, some of them aborted."""
        made = [self._event() for _ in range(count)]
        self.sent += made
        await asyncio.to_thread(self._send, made)

    async def send_again(self, events):
        """The same events as new records, as Connect does after a crash."""
        await asyncio.to_thread(self._send, events)

    def _event(self):
        common = {
            "id": uuid.uuid4(), "time": NOON + dt.timedelta(minutes=self.source.randrange(180)),
            "tenant_id": self.source.choice(TENANTS), "asset_id": uuid.uuid4(), "generation": 1, "seq": 1,
            "job_id": uuid.uuid4(), "stage": Stage.IMAGE_PRIMARY,
        }  # fmt: skip
        if self.source.random() < 0.5:
            return JobStarted(**common, wait_s=self.source.randrange(100) / 4)
        return JobDone(**common, attempts=1, cpu_s=self.source.randrange(100) / 4)  # quarters: sums are exact

    def _send(self, made):
        producer = Producer(client_options(self.bench.kafka) | {"transactional.id": str(uuid.uuid4())})
        producer.init_transactions(30)
        for first in range(0, len(made), 10):
            for aborted in (True, False) if first % 50 == 0 else (False,):
                producer.begin_transaction()
                for event in made[first : first + 10]:
                    partition = self.placed.setdefault(event.id, self.source.randrange(PARTITIONS))
                    producer.produce(self.events, encode_event(event), partition=partition)
                producer.flush(30)
                (producer.abort_transaction if aborted else producer.commit_transaction)(30)

    async def start(self, **variables):
        env = {name: value for name, value in os.environ.items() if not name.startswith("MEDIALANE_")} | {
            "MEDIALANE_KAFKA_BROKERS": self.bench.kafka.brokers,
            "MEDIALANE_KAFKA_TOPIC_PREFIX": self.bench.kafka.topic_prefix,
            "MEDIALANE_WORKER_TEMP_DIR": str(self.folder),
            "MEDIALANE_WORKER_COMMIT_INTERVAL_S": "0.2",
            "MEDIALANE_WORKER_SESSION_TIMEOUT_S": "6",
            "MEDIALANE_WORKER_REBALANCE_TIMEOUT_S": "6",
            **variables,
        }
        log = (self.folder / f"usage-{len(self.processes)}.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "run", "usage", env=env, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    async def kill(self, process, number=signal.SIGKILL):
        if process.returncode is None:
            process.send_signal(number)
        await asyncio.wait_for(process.wait(), 60)

    def table(self):
        """Every record of the changelog, from the beginning."""
        return read_changelog(read_topic(self.bench.kafka, self.changelog))

    def counted(self):
        return by_tenant(self.table(), since=0)

    def expected(self):
        sums = {}
        for event in self.sent:
            added = (
                Counts(
                    jobs_done=1, cpu_s=event.cpu_s,
                    stages={event.stage.value: StageCounts(jobs_done=1, cpu_s=event.cpu_s)},
                ) if isinstance(event, JobDone)
                else Counts(waits=1, wait_s=event.wait_s, longest_wait_s=event.wait_s)
            )  # fmt: skip
            sums[str(event.tenant_id)] = sums.get(str(event.tenant_id), Counts()) + added
        return sums

    async def until_counted(self, what):
        try:
            async with asyncio.timeout(BOUND_S):
                while await asyncio.to_thread(self.counted) != self.expected():  # noqa: ASYNC110 - it looks from outside
                    await asyncio.sleep(0.3)
        except TimeoutError:
            found, wanted = self.counted(), self.expected()
            raise AssertionError(f"{what}:\n{found}\nis not\n{wanted}") from None

    def ends(self):
        """The offset after each partition's last record."""
        wanted = {TopicPartition(self.events, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        found = self.bench.admin.list_offsets(wanted)
        return {place.partition: future.result(30).offset for place, future in found.items()}

    async def commit(self, offsets):
        """Set the group's offsets, once its last member is gone."""
        await until(lambda: self.bench.members(self.group) == 0, "the group is empty", BOUND_S)
        places = [TopicPartition(self.events, number, offset) for number, offset in offsets.items()]
        request = [ConsumerGroupTopicPartitions(self.group, places)]
        future = self.bench.admin.alter_consumer_group_offsets(request)[self.group]
        done = await asyncio.to_thread(future.result, 30)
        assert not any(place.error for place in done.topic_partitions)

    async def until_read(self):
        """Until every record's outcome is durable, and committed."""
        ends = await asyncio.to_thread(self.ends)
        await until(
            # Behind the last record is its transaction's marker, which no record tells of.
            lambda: all(
                (self.bench.committed(self.group, self.events, key) or 0) >= end - 1 for key, end in ends.items()
            ),
            "all is read",
            BOUND_S,
        )

    def log(self, number):
        """What a process has logged."""
        return (self.folder / f"usage-{number}.log").read_text()

    def outcomes(self):
        """Records by outcome, as the newest process tells them."""
        address = re.search(r'"metrics":"([^"]+)"', self.log(len(self.processes) - 1))
        assert address is not None
        url = f"{address[1]}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        sums = {}
        for line in text.splitlines():
            if line.startswith("media_events_processed_total{"):
                outcome = re.search(r'outcome="(\w+)"', line)[1]
                sums[outcome] = sums.get(outcome, 0) + float(line.rsplit(" ", 1)[1])
        return sums

    def total(self):
        return sum(one.jobs_done + one.waits for one in self.counted().values())


@pytest.fixture
async def bed(bench, tmp_path):
    made = Bed(bench, tmp_path)
    await made.make(made.events, made.changelog)
    yield made
    for process in made.processes:
        if process.returncode is None:
            await made.kill(process)
    for future in bench.admin.delete_topics([made.events, made.changelog]).values():
        await asyncio.to_thread(future.result, 30)


async def test_every_event_is_counted_once_whatever_is_killed(bed):
    """A kill between an entry's write and its offset's commit repeats the event; it must not count again."""
    for _ in range(2):
        await bed.send(1000)
        counted = bed.total()
        process = await bed.start()
        await until(lambda before=counted: bed.total() >= before + 50, "the process counts", BOUND_S)
        await bed.kill(process)
    first, second = await bed.start(), await bed.start()
    await bed.send(300)
    await bed.until_counted("two share the partitions after two kills")
    await bed.kill(first)
    await bed.send(300)
    await bed.until_counted("the other goes on")
    await bed.kill(second, signal.SIGTERM)
    assert second.returncode == 0
    again = await bed.start()
    await bed.send(100)
    await bed.until_counted("the state has survived")
    assert len(bed.table()) == len({(t, p, w) for t in TENANTS for p in range(PARTITIONS) for w in range(3)})
    await bed.kill(again, signal.SIGTERM)


async def test_events_of_a_topic_that_was_made_anew_are_counted_though_their_offsets_begin_again(bed):
    await bed.send(200)
    process = await bed.start()
    await bed.until_counted("the first topic's events")
    future = bed.bench.admin.delete_topics([bed.events])[bed.events]
    await asyncio.to_thread(future.result, 30)
    await bed.make(bed.events)
    await bed.send(100)
    # It may notice by itself and end, for its supervisor to start it again.
    for _ in range(3):
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            break
        process = await bed.start()
    if process.returncode is None:
        await bed.kill(process)
        process = await bed.start()
    await bed.until_counted("both topics' events")


async def test_events_that_the_connector_sends_again_are_not_counted_again(bed):
    """After a crash of Connect up to a second of events comes again: the same ids at other offsets (decision 32)."""
    await bed.send(400)
    before = await bed.start()
    await bed.until_counted("the first time")
    await bed.until_read()
    first_ends = await asyncio.to_thread(bed.ends)
    again = bed.sent[-150:]
    await bed.send_again(again)
    await bed.send(50)
    await bed.until_counted("what is new, and nothing else")
    await bed.until_read()
    assert bed.counted() == bed.expected()
    assert bed.outcomes()["repeat"] == len(again)
    await bed.kill(before)

    # The repeats are read once more by a process that has not seen the first ones.
    await bed.commit(first_ends)
    after = await bed.start()
    await bed.until_read()
    await bed.send(50)
    await bed.until_counted("and nothing of what was there")
    await bed.send_again(again)
    await bed.until_read()
    assert bed.counted() == bed.expected()
    await bed.kill(after, signal.SIGTERM)
    assert after.returncode == 0


async def test_what_is_sent_again_is_known_over_a_rebalance(bed):
    await bed.send(200)
    await bed.start()
    await bed.until_counted("the first time")
    await bed.until_read()
    joiner = await bed.start()
    await until(lambda: bed.bench.members(bed.group) == 2, "the second joins", BOUND_S)
    await bed.kill(joiner, signal.SIGTERM)
    await until(lambda: bed.bench.members(bed.group) == 1, "and leaves", BOUND_S)
    await bed.send_again(bed.sent)
    await bed.until_read()
    assert bed.counted() == bed.expected()


async def test_a_process_whose_name_in_the_group_is_taken_ends_and_nothing_is_lost_or_counted_twice(bed):
    name = {"MEDIALANE_WORKER_INSTANCE_ID": "usage-1"}
    older = await bed.start(**name)
    await bed.send(200)
    await bed.until_counted("by the older one")
    newer = await bed.start(**name, MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT="0")
    await bed.send(200)
    assert await asyncio.wait_for(older.wait(), BOUND_S) == 1
    assert "MEDIALANE_WORKER_INSTANCE_ID must be a name that no other process of the group has" in bed.log(0)
    await bed.send(100)
    await bed.until_counted("by the newer one")
    await bed.until_read()
    await bed.kill(newer, signal.SIGTERM)
    assert newer.returncode == 0
    assert bed.counted() == bed.expected()
