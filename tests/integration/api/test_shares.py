"""What one tenant may take of a process: of its connections by lists, of the store's places by anything."""

import asyncio

import psycopg
import pytest
from aiohttp import web
from support import api
from support.servers import serving

# Asked in every statement under row-level security. One tenant's wait for a lock in it, as behind a long walk.
STUCK = """
    CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
    DECLARE tenant uuid := nullif(current_setting('medialane.tenant_id', true), '')::uuid;
    BEGIN
        IF tenant = '{}' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
        RETURN tenant;
    END $$
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
CONNECTIONS, LISTS = 8, "/api/v1/assets"


@pytest.fixture
def owner(database):
    with psycopg.connect(database.owner, autocommit=True) as connection:
        yield connection


# Walks of a tenant whose cost is its choice.
WALKS = {
    "assets": ("GET", LISTS, None),
    "deliveries": ("GET", "/api/v1/webhooks/{}/deliveries", None),
    "a count of deliveries": ("POST", "/api/v1/webhooks/{}/recover", {"since": "2026-01-31T12:00:00Z", "dryRun": True}),
}


@pytest.fixture
def stick(owner):
    """Lets a tenant's statements wait until the lock is given back."""
    (before,) = owner.execute("SELECT pg_get_functiondef('current_tenant'::regproc)").fetchone()

    def stick(tenant_id):
        owner.execute(STUCK.format(tenant_id))
        owner.execute("SELECT pg_advisory_lock(1)")

    yield stick
    owner.execute("SELECT pg_advisory_unlock_all()")
    owner.execute(before)


async def waiting(owner):
    return (await asyncio.to_thread(owner.execute, WAITING)).fetchone()[0]


async def until_waiting(owner, count, tasks):
    async with asyncio.timeout(90):
        while await waiting(owner) < count:
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
async def test_while_a_tenants_lists_are_stuck_others_list_and_it_is_told_why(new_caller, stick, owner, walk):
    caller, other = await new_caller(), await new_caller()
    hook = {"url": "https://example.com/hook", "events": ["*"]}
    endpoint = (await caller.call("POST", "/api/v1/webhooks", hook))[1]["data"]["id"]
    method, path, body = walk
    asked = (method, path.format(endpoint), body)
    assert (await caller.call(*asked))[0] == 200  # with it come the tokens for what follows
    stick(caller.tenant_id)
    # All kinds have one share together.
    lists = [asyncio.create_task(caller.call(*one)) for one in ((asked, ("GET", LISTS)) * CONNECTIONS)]
    await until_waiting(owner, CONNECTIONS // 4, lists)
    assert (await other.call("GET", LISTS))[0] == 200
    assert await waiting(owner) == CONNECTIONS // 4
    assert not any(task.done() for task in lists)
    answers = await asyncio.gather(*lists)
    assert {(status, body["code"]) for status, body, _ in answers} == {(422, "query_timeout"), (429, "rate_limited")}
    assert {status for status, _, headers in answers if "Retry-After" in headers} == {429}
    owner.execute("SELECT pg_advisory_unlock_all()")
    assert {status for status, _, _ in await asyncio.gather(*(caller.call("GET", LISTS) for _ in range(8)))} == {200}


class SlowStore:
    """An S3 server that keeps whoever asks for some objects waiting; `held` counts them."""

    def __init__(self):
        self.slow, self.held, self.go = set(), 0, asyncio.Event()

    async def handle(self, request):
        if request.path.split("/", 2)[2] in self.slow:
            self.held += 1
            await self.go.wait()
            return web.Response(status=404)
        headers = {"ETag": '"abc"', "Content-Type": "image/jpeg", "Content-Range": "bytes 0-4/5"}
        return web.Response(status=206, body=api.PHOTO, headers=headers)


async def test_a_tenants_batches_at_a_slow_store_leave_places_to_others(env, new_caller):
    store, places = SlowStore(), 4
    patient = {f"MEDIALANE_S3_{name}": "60" for name in ("POOL_TIMEOUT_S", "ANSWER_TIMEOUT_S")}
    async with serving(store.handle) as address:
        change = {"MEDIALANE_S3_ENDPOINT": address, "MEDIALANE_S3_CONNECTIONS": str(places)} | patient
        with api.running(env | change) as started:
            caller, other = await new_caller(started.address), await new_caller(started.address)
            made = [await caller.presign() for _ in range(3 * places)]
            store.slow = {one["objectPath"] for one in made}
            batches = [
                asyncio.create_task(
                    caller.call("POST", "/api/v1/assets/complete", {"assetIds": [one["assetId"] for one in some]})
                )
                for some in (made[:places], made[places : 2 * places], made[2 * places :])
            ]
            async with asyncio.timeout(90):
                while store.held < places // 2:
                    assert not any(task.done() for task in batches)
                    await asyncio.sleep(0.01)
            asset_id = (await other.presign())["assetId"]
            assert (await other.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
            assert store.held == places // 2
            store.go.set()
            for status, answer, _ in await asyncio.gather(*batches):
                assert (status, {one["code"] for one in answer["data"]}) == (200, {"upload_missing"})
