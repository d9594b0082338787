"""The API as a process: what it says of itself, and how it ends."""

import asyncio
import socket
import subprocess
import sys

import pytest
from aiohttp import web
from support import api
from support.servers import serving


async def get(session, address, method="GET"):
    async with session.request(method, address) as response:
        return response.status, await response.text()


async def test_health_readiness_and_metrics(server, session, caller):
    assert await get(session, f"{server.address}/healthz") == (200, '{"status":"ok","problems":[]}')
    assert await get(session, f"{server.address}/readyz") == (200, '{"status":"ok","problems":[]}')
    asset_id = (await caller.presign())["assetId"]
    await caller.call("GET", f"/api/v1/assets/{asset_id}")
    await caller.call("GET", "/wp-login.php")
    _, metrics = await get(session, f"{server.address}/metrics")
    for labels in (
        'method="GET",route="/api/v1/assets/{asset_id}",status_class="2xx"',
        'method="POST",route="/api/v1/storage/presign",status_class="2xx"',
        'method="GET",route="unmatched",status_class="4xx"',
    ):
        assert f"media_http_requests_total{{{labels}}} 1.0" in metrics
        assert f"media_http_request_duration_seconds_count{{{labels}}} 1.0" in metrics
    assert asset_id not in metrics
    assert "wp-login" not in metrics
    assert "media_db_pool_size" in metrics


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"MEDIALANE_DATABASE_URL": "postgresql://medialane_app@127.0.0.1:1/none"}, "database: "),
        ({"MEDIALANE_S3_ENDPOINT": "http://127.0.0.1:1"}, "object store: "),
        ({"MEDIALANE_S3_BUCKET": "no-such-bucket"}, "object store: "),
    ],
)
async def test_readiness_tells_what_is_missing_and_health_stays(env, session, change, problem):
    with api.running(env | change) as started:
        status, body = await get(session, f"{started.address}/readyz")
        assert status == 503
        assert problem in body
        assert (await get(session, f"{started.address}/healthz"))[0] == 200
        assert await get(session, f"{started.address}/readyz", "HEAD") == (503, "")
        assert await get(session, f"{started.address}/healthz", "HEAD") == (200, "")


@pytest.mark.parametrize("process", ["api", "media-images"])
def test_a_default_that_is_no_set_is_refused_at_the_start(env, process):
    """Or it would be found by the first upload of a tenant that chose none."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", "run", process],
        env=env | {"MEDIALANE_PROFILES_DEFAULT": "nonsense"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert "MEDIALANE_PROFILES_DEFAULT is not valid: " in ran.stderr


async def test_a_body_that_does_not_come_holds_no_connection(env, new_caller, monkeypatch):
    monkeypatch.setattr(
        api, "_RUN", f"import api.middleware.body_timeout; api.middleware.body_timeout.LONGEST_S = 1.0; {api._RUN}"
    )
    with api.running(env) as started:
        caller = await new_caller(started.address)
        host, port = started.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/v1/storage/presign HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {caller.key}\r\n"
        head += "Accept: application/problem+json\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        answer = await reader.read()  # until the other side closes it
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in answer
        assert b"application/problem+json" in answer
        # What takes long after its body was read is no matter.
        asset_id = (await caller.presign())["assetId"]
        assert (await caller.call("GET", f"/api/v1/assets/{asset_id}?wait=2s"))[0] == 200


async def test_without_a_database_requests_say_when_to_come_again(env, session):
    change = {"MEDIALANE_DATABASE_URL": "postgresql://medialane_app@127.0.0.1:1/none"}
    with api.running(env | change) as started:
        headers = {"Authorization": "Bearer mp_000000000000_" + "0" * 48}
        async with session.get(f"{started.address}/api/v1/assets", headers=headers) as response:
            body = await response.json()
            assert (response.status, body["code"], response.headers["Retry-After"]) == (
                503,
                "database_unavailable",
                "1",
            )
            assert "127.0.0.1" not in body["message"]


class SlowStore:
    """An S3 server that shows the beginning of an object only when it is told to."""

    def __init__(self):
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def handle(self, request):
        self.asked.set()
        await self.go.wait()
        headers = {"ETag": '"abc"', "Content-Type": "image/jpeg", "Content-Range": "bytes 0-4/5"}
        return web.Response(status=206, body=api.PHOTO, headers=headers)


@pytest.fixture
async def slow_store():
    store = SlowStore()
    async with serving(store.handle) as store.address:
        yield store
        store.go.set()


async def completing(slow_store, new_caller, started):
    """A complete that waits for the store: the asset's id, and the task."""
    caller = await new_caller(started.address)
    asset_id = (await caller.presign(size=5))["assetId"]
    task = asyncio.create_task(caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))
    await slow_store.asked.wait()
    return asset_id, task


async def test_sigterm_finishes_what_is_in_flight(env, slow_store, new_caller, operator):
    with api.running(env | {"MEDIALANE_S3_ENDPOINT": slow_store.address}) as started:
        asset_id, task = await completing(slow_store, new_caller, started)
        started.terminate()
        await _until_refused(started.address)
        assert not task.done()
        slow_store.go.set()
        assert (await task)[0] == 200
        assert await asyncio.to_thread(started.wait) == 0
    assert len(await operator.rows("SELECT FROM jobs WHERE asset_id = :id", id=asset_id)) == 1


async def _until_refused(address):
    host, port = address.removeprefix("http://").split(":")
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def test_a_request_that_never_ends_does_not_hold_the_process(env, slow_store, new_caller):
    change = {"MEDIALANE_S3_ENDPOINT": slow_store.address, "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "1"}
    with api.running(env | change) as started:
        _, task = await completing(slow_store, new_caller, started)
        started.terminate()
        code = await asyncio.to_thread(started.wait)
        slow_store.go.set()
        await asyncio.gather(task, return_exceptions=True)
        assert code == 0


def test_a_taken_port_is_named(env):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        server = api.Server(env | {"MEDIALANE_API_PORT": taken})
        assert server.wait() != 0
        assert "already in use" in str(server.log[-1]).lower()
