"""What is kept for a time only goes when it is over, many rows at a time, and nobody waits for it."""

import asyncio

import pytest
import sqlalchemy as sa

from streams.keeper.housekeeping import Housekeeping


@pytest.fixture
def housekeeping(worker, monkeypatch):
    monkeypatch.setattr("streams.keeper.housekeeping._BATCH", 2)
    return Housekeeping(worker)


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
