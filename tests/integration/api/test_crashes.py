"""What a client's retry finds after the process was killed in the middle, and what it is told when all is taken."""

import asyncio
import contextlib

import aiohttp
import psycopg
import pytest
import sqlalchemy as sa
from aiohttp import web
from support import api
from support.locks import until_waited_for, waiting_for
from support.servers import serving

from schemas.scopes import Scope


async def until(holds):
    async with asyncio.timeout(90):
        while not await holds():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("in_time", [True, False], ids=["before its claim ended", "after"])
async def test_a_kill_in_mid_complete_is_mended_by_the_retry(env, server, caller, operator, in_time):
    """The doomed process is held where it has done everything but the last commit."""
    asset_id = await caller.upload()
    path, headers = f"/api/v1/assets/{asset_id}/complete", {"Idempotency-Key": "once"}
    with api.running(env) as doomed:
        victim = api.Caller(doomed.address, caller.tenant_id, caller.key, caller.session)
        async with operator.database.transaction() as connection:
            await connection.execute(sa.text("SELECT FROM assets WHERE id = :id FOR UPDATE"), {"id": asset_id})
            completing = asyncio.create_task(victim.call("POST", path, headers=headers))
            await until_waited_for(connection, operator.database, completing)
            doomed.process.kill()
            with contextlib.suppress(aiohttp.ClientError):
                await completing
    status, answer, _ = await caller.call("POST", path, headers=headers)
    assert (status, answer["code"]) == (409, "idempotency_key_in_use"), "nobody knows yet that it is dead"
    if in_time:
        assert (await caller.call("POST", path))[0] == 200  # without the key nothing holds it back
    await operator.outlive_claims(caller.tenant_id)
    first, second = [await caller.call("POST", path, headers=headers) for _ in range(2)]
    assert (first[0], second[0], second[2].get("Idempotent-Replayed")) == (200, 200, "true")
    rows = await operator.rows("SELECT state FROM jobs WHERE asset_id = :id", id=asset_id)
    assert [row["state"] for row in rows] == ["queued"]
    events = await operator.rows("SELECT type FROM asset_events WHERE asset_id = :id ORDER BY seq", id=asset_id)
    assert [row["type"] for row in events] == ["asset.created", "asset.uploaded", "job.starting"]


@pytest.fixture
async def photo():
    """The address of a photo on another server."""

    async def handle(request):
        assert request.path == "/a.jpg"
        return web.Response(body=api.PHOTO, content_type="image/jpeg")

    async with serving(handle) as address:
        yield f"{address}/a.jpg"


async def _minting(*_):
    return (
        "/api/v1/keys",
        {"scopes": ["assets:read"]},
        "SELECT FROM api_keys WHERE tenant_id = :id AND replaces IS NULL",
    )


async def _rotating(caller, operator, _photo):
    old = await operator.key(caller.tenant_id)
    return f"/api/v1/keys/{old.id}/rotate", {}, "SELECT FROM api_keys WHERE tenant_id = :id AND replaces IS NOT NULL"


async def _registering(*_):
    body = {"url": "https://example.com/hook", "events": ["*"]}
    return "/api/v1/webhooks", body, "SELECT FROM webhook_endpoints WHERE tenant_id = :id"


async def _rotating_a_secret(caller, *_):
    path, body, _ = await _registering()
    made = (await caller.call("POST", path, body))[1]["data"]
    effects = "SELECT FROM webhook_endpoints WHERE tenant_id = :id AND secret_old IS NOT NULL"
    return f"{path}/{made['id']}/secret/rotate", {}, effects


async def _trying(caller, *_):
    path, body, _ = await _registering()
    made = (await caller.call("POST", path, body))[1]["data"]
    return f"{path}/{made['id']}/test", {}, "SELECT FROM webhook_deliveries WHERE tenant_id = :id"


async def _pulling(_caller, _operator, photo):
    return "/api/v1/assets", {"url": photo}, "SELECT FROM assets WHERE tenant_id = :id"


async def _cancelling(caller, _operator, _photo):
    asset_id = await caller.upload()
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    effects = "SELECT FROM audit_log WHERE tenant_id = :id AND action = 'asset.cancel'"
    return f"/api/v1/assets/{asset_id}/cancel", None, effects


@pytest.mark.parametrize(
    ("making", "answered"),
    [
        (_minting, 201),
        (_rotating, 201),
        (_registering, 201),
        (_rotating_a_secret, 201),
        (_trying, 202),
        (_pulling, 201),
        (_cancelling, 200),
    ],
)
async def test_what_is_made_once_and_its_answer_are_there_together(
    env, caller, operator, database, photo, tmp_path, making, answered
):
    """The doomed process is held in its effect, and then where it writes the answer down."""
    env |= {"MEDIALANE_PULL_ALLOW_PRIVATE": "true", "MEDIALANE_PULL_TEMP_DIR": str(tmp_path)}
    caller.key = (await operator.key(caller.tenant_id, scopes=(Scope.ADMIN,))).text
    path, body, effects = await making(caller, operator, photo)
    before = len(await operator.rows(effects, id=caller.tenant_id))
    headers = {"Idempotency-Key": "once"}

    def held_by(holder):
        return waiting_for(operator.database, holder.info.backend_pid)

    with psycopg.connect(database.owner) as answers, api.running(env) as doomed:
        victim = api.Caller(doomed.address, caller.tenant_id, caller.key, caller.session)
        with psycopg.connect(database.owner) as effect:
            effect.execute("LOCK audit_log IN ACCESS EXCLUSIVE MODE")
            making_it = asyncio.create_task(victim.call("POST", path, body, headers=headers))
            await until(lambda: held_by(effect))
            answers.execute("SELECT FROM idempotency_keys WHERE tenant_id = %s FOR UPDATE", [caller.tenant_id])
        await until(lambda: held_by(answers))
        doomed.process.kill()
        with contextlib.suppress(aiohttp.ClientError):
            await making_it
    await operator.outlive_claims(caller.tenant_id)
    with api.running(env) as other:
        retrying = api.Caller(other.address, caller.tenant_id, caller.key, caller.session)
        first, second = [await retrying.call("POST", path, body, headers=headers) for _ in range(2)]
    assert (first[0], second[0], second[2].get("Idempotent-Replayed")) == (answered, answered, "true")
    assert first[1] == second[1]
    assert len(await operator.rows(effects, id=caller.tenant_id)) == before + 1


async def test_a_pool_that_is_used_up_answers_503_and_never_hangs(env, new_caller, operator):
    change = {"MEDIALANE_DATABASE_POOL_SIZE": "2", "MEDIALANE_DATABASE_POOL_TIMEOUT_S": "0.5"}
    with api.running(env | change) as small:
        caller, other = await new_caller(small.address), await new_caller(small.address)
        # Of two tenants: what one tenant's callers write in the same moment shares a connection.
        held = [(one, await one.upload()) for one in (caller, other)]
        async with operator.database.transaction() as connection:
            await connection.execute(
                sa.text("SELECT FROM assets WHERE id = ANY(:ids) FOR UPDATE"), {"ids": [asset for _, asset in held]}
            )
            stuck = [asyncio.create_task(one.call("POST", f"/api/v1/assets/{asset}/complete")) for one, asset in held]

            async def is_full():
                status, answer, _ = await caller.call("POST", "/api/v1/storage/presign", api_presign())
                return status == 503 and answer["code"] == "database_unavailable"

            await until(is_full)
            status, _, headers = await caller.call("GET", "/api/v1/assets")
            assert (status, int(headers["Retry-After"]) >= 1) == (503, True)
        assert {(await one)[0] for one in stuck} <= {200, 503}
        assert (await caller.call("GET", "/api/v1/assets"))[0] == 200


def api_presign():
    return {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}
