"""What one tenant may take of a process: of its connections by lists, of the store's threads by anything."""

import asyncio

import psycopg
import pytest

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


async def test_while_a_tenants_lists_are_stuck_others_list_and_it_is_told_why(new_caller, stick, owner):
    caller, other = await new_caller(), await new_caller()
    assert (await caller.call("GET", LISTS))[0] == 200  # with it come the tokens for what follows
    stick(caller.tenant_id)
    lists = [asyncio.create_task(caller.call("GET", LISTS)) for _ in range(2 * CONNECTIONS)]
    await until_waiting(owner, CONNECTIONS // 4, lists)
    assert (await other.call("GET", LISTS))[0] == 200
    assert await waiting(owner) == CONNECTIONS // 4
    assert not any(task.done() for task in lists)
    answers = await asyncio.gather(*lists)
    assert {(status, body["code"]) for status, body, _ in answers} == {(503, "query_timeout"), (429, "rate_limited")}
    assert all(int(headers["Retry-After"]) >= 1 for _, _, headers in answers)
    owner.execute("SELECT pg_advisory_unlock_all()")
    assert {status for status, _, _ in await asyncio.gather(*(caller.call("GET", LISTS) for _ in range(8)))} == {200}
