"""What is kept for a time only goes when it is over, many rows at a time, and nobody waits for it."""

import asyncio

import pytest
import sqlalchemy as sa

from connectors.postgres import purge
from schemas.settings import KeeperSettings
from streams.keeper.housekeeping import Housekeeping


@pytest.fixture
def housekeeping(worker, monkeypatch):
    monkeypatch.setattr("streams.keeper.housekeeping._BATCH", 2)
    return Housekeeping(worker, KeeperSettings())


async def test_old_answers_go_in_batches_and_one_that_somebody_holds_is_left(worker, seed, housekeeping):
    tenant = await seed.tenant(worker)
    many = """
        INSERT INTO idempotency_keys (tenant_id, key, fingerprint, state, created_at)
        SELECT :t, key, '', 'done', now() - interval '25 hours' FROM unnest(CAST(:keys AS text[])) AS key
    """
    await seed.change(worker, many, t=tenant, keys=list("abcde"))
    await seed.change(
        worker, "UPDATE idempotency_keys SET created_at = now() WHERE tenant_id = :t AND key = 'e'", t=tenant
    )
    left = "SELECT key FROM idempotency_keys WHERE tenant_id = :t ORDER BY key"
    async with worker.transaction() as connection:
        hold = "SELECT FROM idempotency_keys WHERE tenant_id = :t AND key = 'a' FOR UPDATE"
        await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await connection.execute(sa.text(hold), {"t": tenant})
        async with asyncio.timeout(60):
            await housekeeping.clean()
        assert await seed.column(worker, left, t=tenant) == ["a", "e"]
    await housekeeping.clean()
    assert await seed.column(worker, left, t=tenant) == ["e"]


async def test_the_rows_of_a_purged_asset_go_after_a_while_and_no_others(worker, seed, housekeeping):
    tenant = await seed.tenant(worker)
    long_ago, lately, living = [await seed.asset(worker, tenant) for _ in range(3)]
    letter = "INSERT INTO dead_letters (id, tenant_id, job_id, topic, code, detail) VALUES (:j, :t, :j, 'x', 'x', '')"
    gone = "UPDATE assets SET state = 'deleted', purged_at = now() - :ago * interval '1 second' WHERE id = :a"
    for made in (long_ago, lately, living):
        await seed.change(worker, letter, j=made.job_id, t=tenant)
    await seed.change(worker, gone, a=long_ago.asset_id, ago=purge.KEPT_S + 60)
    await seed.change(worker, gone, a=lately.asset_id, ago=purge.KEPT_S - 3600)
    await housekeeping.clean()
    for table in ("assets", "jobs", "dead_letters"):
        left = await seed.column(worker, f"SELECT count(*) FROM {table} WHERE tenant_id = :t", t=tenant)
        assert left == [2], table
    assert await seed.column(worker, "SELECT id FROM assets WHERE id = :a", a=long_ago.asset_id) == []
