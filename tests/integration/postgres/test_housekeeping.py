"""What is kept for a time only goes when it is over, many rows at a time, and nobody waits for it."""

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from connectors.postgres import audit
from connectors.postgres.accounts import keys
from connectors.postgres.assets import purge
from schemas.scopes import Scope
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


async def test_records_that_could_not_be_decoded_go_after_a_while_and_letters_of_jobs_do_not(
    worker, seed, housekeeping
):
    tenant = await seed.tenant(worker)
    made = await seed.asset(worker, tenant)
    letter = """
        INSERT INTO dead_letters (id, tenant_id, job_id, topic, value, code, detail, created_at)
        VALUES (gen_random_uuid(), :t, :j, 'jobs.image', 'her-holiday.jpg', :code, '',
            now() - :ago * interval '1 second')
    """
    kept_s, code = KeeperSettings().letter_retention_s, f"of {tenant}"
    for whose, job, ago in ((None, None, kept_s + 60), (None, None, kept_s - 3600), (tenant, made.job_id, kept_s * 2)):
        await seed.change(worker, letter, t=whose, j=job, code=code, ago=ago)
    await housekeeping.clean()
    left = "SELECT tenant_id FROM dead_letters WHERE code = :code ORDER BY created_at"
    assert await seed.column(worker, left, code=code) == [tenant, None]


async def test_keys_that_ended_long_ago_go_and_what_they_were_followed_by_stays(worker, seed, housekeeping):
    tenant = await seed.tenant(worker)
    kept_s = KeeperSettings().key_retention_s
    async with worker.transaction() as connection:
        made = [await keys.mint_key(connection, tenant, scopes=(Scope.ADMIN,), name=name) for name in "abcde"]
    revoked, expired, both, lately, living = (key.id for key in made)
    end = """
        UPDATE api_keys SET {} = now() - :ago * interval '1 second' WHERE id = :id
    """
    for key, column, ago in (
        (revoked, "revoked_at", kept_s + 60), (expired, "expires_at", kept_s + 60), (both, "expires_at", kept_s + 60),
        (both, "revoked_at", 60), (lately, "revoked_at", kept_s - 3600),
    ):  # fmt: skip
        await seed.change(worker, end.format(column), id=key, ago=ago)
    await seed.change(worker, "UPDATE api_keys SET replaces = :old WHERE id = :id", old=revoked, id=living)
    await housekeeping.clean()
    left = await seed.column(worker, "SELECT name FROM api_keys WHERE tenant_id = :t ORDER BY name", t=tenant)
    assert left == ["d", "e"]
    assert await seed.column(worker, "SELECT replaces FROM api_keys WHERE id = :id", id=living) == [None]


async def test_entries_of_the_audit_log_go_after_a_year_and_by_nothing_else(worker, seed, housekeeping, database):
    tenant = await seed.tenant(worker)
    async with worker.transaction() as connection:
        for number in range(5):
            await audit.note(connection, actor="a@b", action=f"test.{number}", tenant_id=tenant)
    age = "UPDATE audit_log SET at = now() - :days * interval '1 day' WHERE tenant_id = %s AND action = %s"
    with psycopg.connect(database.owner) as owner:
        for number, days in ((0, 366), (1, 367), (2, 400), (3, 364)):
            owner.execute(age.replace(":days", str(days)), (tenant, f"test.{number}"))
    left = "SELECT action FROM audit_log WHERE tenant_id = :t ORDER BY action"
    await housekeeping.clean()
    assert await seed.column(worker, left, t=tenant) == ["test.3", "test.4"]
    async with worker.transaction() as connection:
        assert await audit.purge(connection, kept_s=0, batch=100) == 1, "no entry goes within a month"
    assert await seed.column(worker, left, t=tenant) == ["test.4"]
