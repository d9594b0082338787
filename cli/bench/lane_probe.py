"""One process with the lanes of a media worker, in which a job is nothing: `python -m cli.bench.lane_probe RECORDS`.

It makes a topic of its own, fills it with dispatches, works it off and prints what it saw as JSON. Everything between
the broker and the claim is the worker's own: fetching, decoding, lanes, slots, watermarks, commits.
"""

import asyncio
import contextlib
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvloop
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client import CollectorRegistry

from connectors.kafka.options import client_options
from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.metrics import Metrics
from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.settings import KafkaSettings, WorkerSettings, load
from schemas.states import MediaKind, Stage
from schemas.topics import IMAGE_JOBS
from streams.media.handler import Payload
from streams.media.worker import MediaWorker

_PARTITIONS = 8
_TENANTS = 40
_PATIENCE_S = 300.0


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen: records per second from the first claim to the last record's commit, and resident memory, MiB,
    when a tenth was done and at the end. `cpu_s`: this process's, user and system, for all of it.
    """

    per_s: float
    cpu_s: float
    warm_rss_mb: float
    end_rss_mb: float


class Nothing:
    """A handler whose claims succeed at once and lead to no work."""

    def __init__(self) -> None:
        self.claims = 0
        self.first = 0.0

    async def claim(self, payload: Payload) -> ClaimedJob | None:
        """Count the record."""
        del payload
        self.first = self.first or time.perf_counter()
        self.claims += 1
        return None

    async def run(self, work: ClaimedJob) -> float:
        """Never called: no claim leads to work."""
        raise RuntimeError(str(work.job_id))


async def probe(kafka: KafkaSettings, records: int) -> Probed:
    """Work off so many records; the topic and the group are new and deleted afterwards."""
    admin, topic = AdminClient(client_options(kafka)), IMAGE_JOBS.name(kafka.topic_prefix)
    made = admin.create_topics([NewTopic(topic, num_partitions=_PARTITIONS, replication_factor=1)])
    await asyncio.to_thread(made[topic].result, 30)
    try:
        # In a process of its own: what a producer's buffers leave behind is not the lanes' memory.
        filling = multiprocessing.get_context("spawn").Process(target=_fill, args=(kafka, topic, records))
        filling.start()
        await asyncio.to_thread(filling.join)
        if filling.exitcode != 0:
            raise RuntimeError("the topic could not be filled")
        with tempfile.TemporaryDirectory(prefix="medialane-bench-") as folder:
            return await _work_off(kafka, admin, topic, records, Path(folder))
    finally:
        await asyncio.to_thread(admin.delete_topics([topic])[topic].result, 30)


async def _work_off(kafka: KafkaSettings, admin: AdminClient, topic: str, records: int, folder: Path) -> Probed:
    handler, group = Nothing(), f"{kafka.topic_prefix}-lanes"
    metrics = Metrics(CollectorRegistry(), process="media-images")
    settings = WorkerSettings(temp_dir=str(folder))
    worker = MediaWorker(handler, kafka, settings, metrics, kind=MediaKind.IMAGE, group=group, slots=64)
    tasks = [asyncio.create_task(task()) for task in worker.tasks.values()]
    try:
        await _until(lambda: handler.claims >= records // 10, tasks)
        warm, cpu_s = _resident_mb(), time.process_time()
        await _until(lambda: handler.claims >= records, tasks)
        while await asyncio.to_thread(_committed, admin, group, topic) < records:  # noqa: ASYNC110 - the broker's answer
            await asyncio.sleep(0.02)
        ended = time.perf_counter()
        return Probed(
            per_s=records / (ended - handler.first), cpu_s=(time.process_time() - cpu_s) * 10 / 9, warm_rss_mb=warm,
            end_rss_mb=_resident_mb(),
        )  # fmt: skip
    finally:
        await worker.drain(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(condition: Callable[[], bool], tasks: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)


def _fill(kafka: KafkaSettings, topic: str, records: int) -> None:
    """Write dispatches."""
    producer = Producer(client_options(kafka) | {"linger.ms": 20})
    tenants = [uuid7() for _ in range(_TENANTS)]
    for number in range(records):
        tenant = tenants[number % _TENANTS]
        offer = Dispatch(
            job_id=uuid7(), tenant_id=tenant, asset_id=uuid7(), stage=Stage.IMAGE_PRIMARY, dispatch=1
        )  # fmt: skip
        headers: list[tuple[str, str | bytes | None]] = [("ce_id", str(uuid7())), ("ce_tenantid", str(tenant))]
        while True:
            try:
                producer.produce(
                    topic, msgspec.json.encode(offer), key=tenant.bytes, headers=headers, partition=number % _PARTITIONS
                )
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("the broker did not take the records in time")


def _committed(admin: AdminClient, group: str, topic: str) -> int:
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in range(_PARTITIONS)])]
    found = admin.list_consumer_group_offsets(asked)[group].result(10)
    return sum(max(0, partition.offset) for partition in found.topic_partitions)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Standard output is for the answer alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


if __name__ == "__main__":
    settings = msgspec.structs.replace(load(KafkaSettings, os.environ), topic_prefix=f"bench{secrets.token_hex(4)}")
    with _quiet():
        answer = uvloop.run(probe(settings, int(sys.argv[1])))
    print(msgspec.json.encode(answer).decode())
