"""What the stream tests work with: topics, a transactional producer, our consumer, and plain Faust beside it."""

import asyncio
import contextlib
import secrets
import uuid

import faust
import msgspec
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from connectors.kafka.options import client_options
from schemas.settings import WorkerSettings
from streams.core.lane import Bounds
from streams.faust_app import build_app
from streams.lanes import Lanes
from streams.member import Member

BOUND_S = 40


async def until(condition, what="the condition", bound_s=BOUND_S):
    """Wait until something observed from outside holds."""
    try:
        async with asyncio.timeout(bound_s):
            while not condition():  # noqa: ASYNC110 - it looks from outside
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {bound_s} s: {what}") from None


def unread(app):
    """How many records an app's consumer has handed on that its streams have not read."""
    return sum(queue.qsize() for queue in app.flow_control._queues)


def noting(seen, what=lambda event: event.value):
    """A plain agent's read loop that keeps in `seen` what each event holds, as they come."""

    def read(app):
        async def loop(stream):
            async for event in stream.events():
                seen.append(what(event))

        return loop

    return read


class Handler:
    """Claims whatever is not held; every value that was claimed is remembered, jobs end at once."""

    def __init__(self):
        self.seen: list[bytes] = []
        self.held: dict[bytes, asyncio.Event] = {}
        self.finish: asyncio.Event | None = None
        self.given_back: list[bytes] = []

    def hold(self, value):
        self.held[value] = asyncio.Event()

    def release(self, value):
        self.held[value].set()

    async def claim(self, payload):
        if payload in self.held:
            await self.held[payload].wait()
        self.seen.append(payload)
        return payload if self.finish is not None else None

    async def run(self, work):
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.given_back.append(work)
            raise
        return 0.0


class Worker:
    """Our consumer with lanes, in this event loop."""

    def __init__(self, bench, topic, group, *, slots=64, running=64, window=64, handler=None, instance_id=None):
        self.handler = handler or Handler()
        bounds = Bounds.of(running=running, window=window)
        self.lanes = Lanes(self.handler, lambda: self.member.flow, slots=slots, bounds=bounds)
        self.most_waiting = self.most_unread = 0
        settings = msgspec.structs.replace(bench.worker, instance_id=instance_id)
        self.records = []
        self.app = build_app(group, topic, bench.kafka, settings, self.lanes, self._receive)
        self.member = Member(self.app, bench.kafka)
        self.task = None

    def _receive(self, record):
        self.records.append(record)
        self.lanes.put(record.partition, record.offset, "", record.value)
        self.most_waiting = max(self.most_waiting, *(lane.waiting for lane in self.lanes.lanes.values()), 0)
        self.most_unread = max(self.most_unread, unread(self.app))

    async def start(self):
        self.task = asyncio.create_task(self.member.run())
        await until(lambda: self.member.joined or self.task.done(), "the worker joins its group")
        if self.task.done():
            self.task.result()

    def holds(self):
        return [*self.handler.held.values(), *filter(None, [self.handler.finish])]

    async def stop(self):
        """As a drain does: claims become known, then commit and leave. Idempotent."""
        task, self.task = self.task, None
        if task is None:
            return
        await self.lanes.stop_intake()
        await self.member.leave()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Bench:
    """Made by the `bench` fixture."""

    def __init__(self, kafka, admin, folder):
        self.kafka = kafka
        self.admin = admin
        self.worker = WorkerSettings(
            temp_dir=str(folder), commit_interval_s=0.1, session_timeout_s=6.0, rebalance_timeout_s=6.0
        )
        self._topics = []
        self._running = []
        self._processes = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        for running in self._running:
            for event in running.holds():
                event.set()
            async with asyncio.timeout(BOUND_S):
                await running.stop()
        if self._topics:
            for future in self.admin.delete_topics(self._topics).values():
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(future.result, 10)

    async def topic(self, partitions=1, name=None, config=None):
        """A new topic; it exists when this returns."""
        name = name or f"{self.kafka.topic_prefix}.{secrets.token_hex(3)}"
        future = self.admin.create_topics(
            [NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})]
        )[name]
        await asyncio.to_thread(future.result, 15)
        self._topics.append(name)
        return name

    async def compacted_topic(self, values):
        """A topic with records of one key, of which the broker has compacted away at least one."""
        await self._look_for_what_to_clean("500", AlterConfigOpType.SET)
        config = {
            "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100",
            "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100",
        }  # fmt: skip
        topic = await self.topic(config=config)
        for value in values:
            await asyncio.to_thread(self.send, topic, value, b"key", [])
            await asyncio.sleep(0.15)  # a segment of its own: the newest is never compacted
        async with asyncio.timeout(2 * BOUND_S):
            while len(await asyncio.to_thread(self._present, topic)) == len(values):  # noqa: ASYNC110 - the broker's
                await asyncio.sleep(0.5)
        await self._look_for_what_to_clean("", AlterConfigOpType.DELETE)  # the broker may be a developer's
        return topic

    async def _look_for_what_to_clean(self, every_ms, how):
        """How often the broker does."""
        (broker,) = self.admin.list_topics(timeout=15).brokers
        often = ConfigEntry("log.cleaner.backoff.ms", every_ms, incremental_operation=how)
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=[often])
        await asyncio.to_thread(self.admin.incremental_alter_configs([resource])[resource].result, 15)

    def _present(self, topic):
        consumer = Consumer(client_options(self.kafka) | {"group.id": str(uuid.uuid4())})
        consumer.assign([TopicPartition(topic, 0, 0)])
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        del low
        offsets = []
        try:
            while not offsets or offsets[-1] < high - 1:
                message = consumer.poll(10)
                assert message is not None, "the topic's last record is never compacted away"
                offsets.append(message.offset())
        finally:
            consumer.close()
        return offsets

    def group(self):
        return f"{self.kafka.topic_prefix}-{secrets.token_hex(3)}"

    def ours(self, topic, group, **options):
        made = Worker(self, topic, group, **options)
        self._running.append(made)
        return made

    def plain(self, topic, group, read, **options):
        """Stock Faust with the same settings, for what it does instead."""
        made = Plain(self, topic, group, read, **options)
        self._running.append(made)
        return made

    def kill_at_end(self, process):
        """Have a process killed when the test is over."""
        self._processes.append(process)

    async def produce(self, topic, values, *, per_transaction=2, partition=0, abort=False):
        """Send values in transactions, as the exactly-once connector does: a marker after each takes an offset."""
        await asyncio.to_thread(self._produce, topic, list(values), per_transaction, partition, abort)

    def _produce(self, topic, values, per_transaction, partition, abort):
        producer = Producer(client_options(self.kafka) | {"transactional.id": str(uuid.uuid4())})
        producer.init_transactions(30)
        for first in range(0, len(values), per_transaction):
            producer.begin_transaction()
            for value in values[first : first + per_transaction]:
                producer.produce(topic, value, partition=partition)
            producer.flush(90)  # an abort forgets what was not sent
            (producer.abort_transaction if abort else producer.commit_transaction)(30)

    def send(self, topic, value, key, headers):
        """One record as it is given, outside transactions."""
        producer = Producer(client_options(self.kafka))
        producer.produce(topic, value, key=key, headers=headers)
        assert producer.flush(90) == 0

    def committed(self, group, topic, partition=0):
        """The group's committed offset, None if there is none."""
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])]
        try:
            found = self.admin.list_consumer_group_offsets(asked)[group].result(10)
        except Exception:  # noqa: BLE001 - the group does not exist yet
            return None
        offset = found.topic_partitions[0].offset
        return None if offset < 0 else offset

    def members(self, group):
        """How many members the group has; -1 while its coordinator does not say, as right after the broker's start."""
        try:
            return len(self.admin.describe_consumer_groups([group])[group].result(10).members)
        except (KafkaException, TimeoutError):
            return -1

    def read_all(self, topic, count, *, bound_s=30):
        """The first `count` records of a topic."""
        consumer = Consumer(
            client_options(self.kafka) | {"group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([topic])
        records = []
        try:
            while len(records) < count:
                message = consumer.poll(bound_s)
                assert message is not None, f"only {len(records)} records in {topic}"
                records.append(message)
        finally:
            consumer.close()
        return records


_PLAIN = {
    "broker_session_timeout": 6.0, "broker_heartbeat_interval": 1.5, "broker_rebalance_timeout": 6.0,
    "stream_wait_empty": False, "broker_commit_interval": 0.1,
}  # fmt: skip


class Plain:
    """Faust as it comes: stock transport, the read loop is the test's."""

    def __init__(self, bench, topic, group, read, **options):
        self.app = faust.App(
            group, broker=f"kafka://{bench.kafka.brokers}",
            consumer_auto_offset_reset="earliest",
            topic_disable_leader=True, topic_allow_declare=False, web_enabled=False, autodiscover=False,
            stream_recovery_delay=0.0, datadir=bench.worker.temp_dir + "/plain",
            **(_PLAIN | options.pop("settings", {})),
        )  # fmt: skip
        agent = options.pop("agent", {})
        types = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"} | options
        self.app.agent(self.app.topic(topic, **types), name="read", **agent)(read(self.app))
        self.task = None

    def begin(self):
        """Start without waiting for an assignment."""
        self.task = asyncio.create_task(self.app.start())

    async def start(self):
        self.begin()
        await until(lambda: self.app.consumer_generation_id > 0 and not self.app.rebalancing, "plain Faust joins")

    def holds(self):
        return []

    async def stop(self):
        await self.app.stop()
        await asyncio.gather(self.task, return_exceptions=True)
