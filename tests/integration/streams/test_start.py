"""Workers that start while no broker answers: they wait, say so, end when told to, and join once one is there."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import urllib.error
import urllib.request

import msgspec
import pytest
from structlog.testing import capture_logs
from support.ports import free_port
from support.processes import end
from support.streams import until

from connectors.kafka.bootstrap import until_reachable
from schemas.settings import KafkaSettings

BOUND_S = 90
WAITS = "no Kafka broker has answered yet"
NOWHERE = {
    "MEDIALANE_DATABASE_URL": "postgresql://medialane_worker@127.0.0.1:1/none",
    "MEDIALANE_S3_ENDPOINT": "http://127.0.0.1:1",
    "MEDIALANE_S3_BUCKET": "none",
    "MEDIALANE_S3_ACCESS_KEY": "nobody",
    "MEDIALANE_S3_SECRET_KEY": "nothing",
    "MEDIALANE_WEBHOOK_ENCRYPTION_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


@pytest.fixture
def port():
    """A port that nobody listens on yet."""
    return free_port()


@contextlib.asynccontextmanager
async def opened(port, brokers):
    """The port leads to the broker from now on; clients go on to the address that the broker tells them."""
    host, _, number = brokers.split(",")[0].rpartition(":")

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def connect(reader, writer):
        there, back = await asyncio.open_connection(host, int(number))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


def ready(log):
    """What /readyz says: the status, and the text."""
    found = re.search(r'"metrics":"([^"]+)"', log.read_text())
    if found is None:
        return 0, ""
    try:
        with urllib.request.urlopen(f"{found[1]}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


@pytest.mark.parametrize("kind", ["media-images", "media-video", "webhooks", "usage"])
async def test_a_worker_without_a_broker_waits_and_says_so_until_it_is_told_to_stop(kind, port, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MEDIALANE_")} | NOWHERE | {
        "MEDIALANE_KAFKA_BROKERS": f"127.0.0.1:{port}", "MEDIALANE_WORKER_TEMP_DIR": str(tmp_path),
        "MEDIALANE_WORKER_WATCHDOG_S": "2", "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "30",
    }  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "run", kind, env=env, stdout=file, stderr=file
        )
    try:
        ended = lambda: process.returncode is not None  # noqa: E731
        await until(lambda: ended() or WAITS in ready(log)[1], "it says what it waits for", BOUND_S)
        said = "no Kafka broker answers; waiting for one"
        await until(lambda: ended() or log.read_text().count(said) > 1, "beyond the watchdog's patience", BOUND_S)
        assert ready(log)[0] == 503
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        # Neither the drain's bound nor the group's: there is nothing to drain and no group to leave.
        assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()
        assert "%3|" not in log.read_text(), "librdkafka keeps quiet"
    finally:
        await end(process)
        print(log.read_text()[-5000:])


@pytest.mark.stack
async def test_a_worker_joins_when_the_broker_is_there(bench, port):
    topic, group, direct = await bench.topic(), bench.group(), bench.kafka
    await bench.produce(topic, [b"r0"])
    bench.kafka = msgspec.structs.replace(direct, brokers=f"127.0.0.1:{port}")
    worker = bench.ours(topic, group)
    with capture_logs() as said:
        starting = asyncio.create_task(worker.start())
        await until(lambda: said, "it has asked in vain", BOUND_S)
    assert worker.member.awaits_broker
    assert worker.member.problems() == [WAITS]
    assert not worker.task.done()
    async with opened(port, direct.brokers):
        await asyncio.wait_for(starting, BOUND_S)
        assert worker.member.problems() == []
        await until(lambda: worker.handler.seen == [b"r0"], "it works")
        await worker.stop()


async def test_who_waits_for_a_broker_can_be_cancelled(port):
    with capture_logs() as said:
        waiting = asyncio.create_task(until_reachable(KafkaSettings(brokers=f"127.0.0.1:{port}")))
        await until(lambda: said, "it has asked in vain", BOUND_S)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
