"""A worker that cannot mend itself ends with a code above 0, and says why; until then it is not ready. In processes."""

import asyncio
import base64
import contextlib
import os
import re
import signal
import sys
import textwrap
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import aiokafka
import pytest
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from support.ports import free_port

from schemas.settings import WorkerSettings
from schemas.topics import EVENTS, IMAGE_JOBS

pytestmark = pytest.mark.stack

BOUND_S = 120

DEAF = """
import asyncio, os, sys, time
from prometheus_client import CollectorRegistry
from connectors.telemetry import Telemetry
from schemas.settings import KafkaSettings, TelemetrySettings, WorkerSettings, load
from schemas.states import MediaKind
from streams.health import LoopWatch
from streams.lifecycle import live
from streams.media.worker import MediaWorker

class Nothing:
    async def claim(self, payload):
        print("claimed", flush=True)

async def main():
    telemetry = Telemetry.start(load(TelemetrySettings, os.environ), process="media-images")
    kafka, settings = load(KafkaSettings, os.environ), load(WorkerSettings, os.environ)
    worker = MediaWorker(Nothing(), kafka, settings, telemetry.metrics, kind=MediaKind.IMAGE, group="deaf", slots=2)

    async def turn_deaf():
        while set(worker.lanes.positions().values()) != {1}:
            await asyncio.sleep(0.05)
        thread = worker.member.flow._thread
        if "full" in sys.argv:
            for partition in worker.lanes.ledger.partitions:
                worker.member.flow.on_buffer_full(partition)  # and nothing ever asks for more
        elif "ended" in sys.argv:
            thread.thread_loop.call_soon_threadsafe(thread._consumer._fetcher.error_future.cancel)
        else:
            thread.thread_loop.call_soon_threadsafe(time.sleep, 1000)
        print("deaf", flush=True)
        await asyncio.Event().wait()

    async def ready():
        return worker.problems()

    watch = LoopWatch(worker.member.consumer_loop, patience_s=4)
    tasks = {**worker.tasks, "deaf": turn_deaf, "loop": watch.run}
    return await live(telemetry, load(TelemetrySettings, os.environ), tasks, ready=ready, drain=lambda: worker.drain(1))

sys.exit(asyncio.run(main()))
"""


@pytest.fixture
def environment(bench, tmp_path):
    return {
        "PATH": os.environ["PATH"],
        "MEDIALANE_KAFKA_BROKERS": bench.kafka.brokers,
        "MEDIALANE_KAFKA_TOPIC_PREFIX": bench.kafka.topic_prefix,
        "MEDIALANE_WORKER_TEMP_DIR": str(tmp_path / "work"),
        "MEDIALANE_WORKER_WATCHDOG_S": "4",
        "MEDIALANE_WORKER_SESSION_TIMEOUT_S": "6",
        "MEDIALANE_WORKER_REBALANCE_TIMEOUT_S": "6",
        "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "1",
        "MEDIALANE_TELEMETRY_METRICS_PORT": str(free_port()),
    }


@asynccontextmanager
async def running(environment, *arguments):
    """A Python process, its standard output as lines; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    process.lines = []

    async def read():
        async for line in process.stdout:
            process.lines.append(line.decode())

    process.reading = asyncio.create_task(read())
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
        await process.reading


async def ended(process):
    async with asyncio.timeout(BOUND_S):
        await process.reading
        return await process.wait(), "".join(process.lines)


async def readiness(environment, says=""):
    """The status of /readyz, as soon as it answers, and says this."""
    address = f"http://127.0.0.1:{environment['MEDIALANE_TELEMETRY_METRICS_PORT']}/readyz"

    def ask():
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async with asyncio.timeout(BOUND_S):
        while True:
            with contextlib.suppress(OSError):
                status, said = await asyncio.to_thread(ask)
                if says in said:
                    return status
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("kind", "reads"), [("media-images", IMAGE_JOBS), ("webhooks", EVENTS)])
async def test_a_worker_that_gets_no_partitions_is_not_ready_and_ends(bench, database, environment, kind, reads):
    """Another member holds the rebalance up: it is asked to give its partitions back, and does not answer."""
    topic = await bench.topic(name=reads.name(bench.kafka.topic_prefix))
    environment |= {
        "MEDIALANE_DATABASE_URL": database.worker, "MEDIALANE_S3_ENDPOINT": "http://127.0.0.1:1",
        "MEDIALANE_S3_BUCKET": "none", "MEDIALANE_S3_ACCESS_KEY": "none", "MEDIALANE_S3_SECRET_KEY": "none",
        "MEDIALANE_WEBHOOK_ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode(),
    }  # fmt: skip
    over = asyncio.Event()

    class Stubborn(aiokafka.ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked):
            if revoked:
                await over.wait()

        async def on_partitions_assigned(self, assigned):
            """Keep them."""

    blocker = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bench.kafka.brokers, group_id=f"{bench.kafka.topic_prefix}-{kind}",
        partition_assignment_strategy=[StickyPartitionAssignor], session_timeout_ms=300_000,
        rebalance_timeout_ms=300_000, heartbeat_interval_ms=1000,
    )  # fmt: skip
    blocker.subscribe([topic], listener=Stubborn())
    await blocker.start()
    try:
        async with asyncio.timeout(BOUND_S):
            while not blocker.assignment():  # noqa: ASYNC110 - the group's answer
                await asyncio.sleep(0.05)
        async with running(environment, "-m", "cli.main", "run", kind) as process:
            status = await readiness(environment, "the consumer group has not given this process its partitions")
            code, log = await ended(process)
    finally:
        over.set()
        await blocker.stop()
    assert (code, status) == (1, 503), log
    lasted = re.search(r"no assignment from the consumer group for (\d+) s", log)
    assert lasted is not None, log
    assert int(lasted[1]) < WorkerSettings().watchdog_s, "the default, not what was set"


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("full", 1, "/0 has records that were not read"),
        ("ended", 1, "the consumer has stopped fetching"),
        ("stuck", 70, "Current thread"),
    ],
)
async def test_a_worker_that_reads_nothing_though_it_could_ends(bench, environment, how, code, says):
    topic = await bench.topic(name=IMAGE_JOBS.name(bench.kafka.topic_prefix))
    await asyncio.to_thread(bench.send, topic, b"first", None, [])
    async with running(environment, "-c", textwrap.dedent(DEAF), how) as process:
        async with asyncio.timeout(BOUND_S):
            while "deaf\n" not in process.lines:
                assert process.returncode is None, "".join(process.lines)
                await asyncio.sleep(0.05)
        if how == "full":
            assert await readiness(environment) == 200
            for _ in range(3):
                await asyncio.to_thread(bench.send, topic, b"more", None, [])
        ended_with, log = await ended(process)
    assert ended_with == code, log
    assert says in log
