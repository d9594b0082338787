"""Who may listen, and for how long: places per process and tenant, keys that end under a stream, Kafka that is away."""

import asyncio
from contextlib import ExitStack

import pytest
from litestar import Litestar
from litestar.exceptions import LitestarException
from support import api

from api.live import service
from api.live.hub import MOST_PLACES, Hub
from api.live.routes import live_router
from api.live.service import Live
from api.principals import Authenticator
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7

SHARE = MOST_PLACES // 4


def events(caller, asset_id):
    address = f"{caller.base}/api/v1/assets/{asset_id}/events"
    return caller.session.get(address, headers={"Authorization": f"Bearer {caller.key}"})


async def test_a_burst_of_one_tenant_takes_its_share_and_leaves_the_rest(new_caller):
    caller, other = await new_caller(), await new_caller()
    asset_id, another = (await caller.presign())["assetId"], (await other.presign())["assetId"]
    answers = await asyncio.gather(*(events(caller, asset_id) for _ in range(SHARE + 16)))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 16
    for answer in refused:
        body = await answer.json()
        assert (answer.status, body["code"], "for you" in body["message"]) == (429, "rate_limited", True)
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await caller.call("GET", f"/api/v1/assets/{asset_id}?wait=1s"))[0] == 429
    async with events(other, another) as answer:
        assert answer.status == 200
    for answer in answers:
        answer.close()
    for _ in range(10_000):
        if (await caller.call("GET", f"/api/v1/assets/{asset_id}?wait=0"))[0] == 200:
            return
    pytest.fail("the places of those who left are not free")


def test_tenants_together_take_what_a_process_has_and_no_more():
    hub = Hub()
    tenants = [uuid7() for _ in range(4)]
    with ExitStack() as held:
        for tenant in tenants:
            for _ in range(SHARE):
                held.enter_context(hub.place(tenant))
        for tenant, code in ((uuid7(), ErrorCode.SERVICE_UNAVAILABLE), (tenants[0], ErrorCode.RATE_LIMITED)):
            with pytest.raises(MedialaneError) as refused, hub.place(tenant):
                pass
            assert (refused.value.code, refused.value.retry_after_s) == (code, 1)
    with hub.place(uuid7()):
        pass


async def test_without_kafka_a_read_of_what_is_over_waits_for_nothing(env, new_caller, operator):
    with api.running(env) as started:
        caller = await new_caller(started.address)
        waits, over = [(await caller.presign())["assetId"] for _ in range(2)]
        await operator.rows("UPDATE assets SET state = 'ready' WHERE id = :id RETURNING id", id=over)
        waiting = asyncio.create_task(caller.call("GET", f"/api/v1/assets/{waits}?wait=3s"))
        for _ in range(3):
            assert (await caller.call("GET", f"/api/v1/assets/{over}?wait=3s"))[0] == 200
        assert not waiting.done()
        async with events(caller, waits) as answer:
            while not (await answer.content.readline()).startswith(b"data: "):
                pass
        assert not waiting.done()
        assert (await waiting)[0] == 200


class Streamed:
    """The route in this process, on a hub whose places a test may take."""

    def __init__(self, database):
        self.hub = Hub()
        self.authenticator = Authenticator(database)
        self._app = Litestar([live_router(Live(database, self.hub), self.authenticator)], openapi_config=None)

    async def ask(self, key, asset_id, send):
        """One request, as a server makes it; returns when it is over."""
        header, over = f"Bearer {key}", asyncio.Event()

        async def receive():
            await over.wait()
            return {"type": "http.disconnect"}

        async def sending(message):
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                over.set()

        scope = {
            "type": "http", "method": "GET", "path": f"/api/v1/assets/{asset_id}/events", "query_string": b"",
            "headers": [(b"authorization", header.encode())], "state": {}, "scheme": "http", "http_version": "1.1",
            "server": ("here", 80), "client": None, "root_path": "", "user": await self.authenticator.principal(header),
        }  # fmt: skip
        await self._app(scope, receive, sending)

    def all_free(self, tenant_id):
        with ExitStack() as held:
            for _ in range(SHARE):
                held.enter_context(self.hub.place(tenant_id))
        return True


@pytest.fixture
def streamed(app):
    return Streamed(app)


async def test_a_stream_that_nobody_began_to_read_gives_its_place_back(caller, streamed):
    asset_id = (await caller.presign())["assetId"]

    async def broken(_message):
        raise OSError("the client is gone")

    with pytest.raises(LitestarException):
        await streamed.ask(caller.key, asset_id, broken)
    assert streamed.all_free(caller.tenant_id)


async def test_a_stream_ends_with_its_key(caller, operator, streamed, monkeypatch):
    monkeypatch.setattr(service, "_HEARTBEAT_S", 0.01)
    asset_id = (await caller.presign())["assetId"]
    key = await operator.key(caller.tenant_id)
    beats = []

    async def hear(message):
        if message.get("body", b"").startswith(b": "):
            beats.append(message)
            if len(beats) == 3:
                await operator.revoke(key)

    await streamed.ask(key.text, asset_id, hear)
    assert len(beats) >= 3
    assert not await streamed.authenticator.admits(f"Bearer {key.text}")
    assert streamed.all_free(caller.tenant_id)
