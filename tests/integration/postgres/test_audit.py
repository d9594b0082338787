"""The audit log: written with the act, read by tenant, changed by nobody."""

import psycopg
import pytest
from psycopg import errors

from connectors.postgres import audit
from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings


async def test_entries_go_with_the_transaction_that_acted(worker, seed):
    tenant = await seed.tenant(worker)
    with pytest.raises(RuntimeError):
        async with worker.transaction() as connection:
            await audit.note(connection, actor="a@b", action="test.undone", tenant_id=tenant)
            raise RuntimeError
    async with worker.transaction() as connection:
        await audit.note(connection, actor="a@b", action="test.done", tenant_id=tenant, detail={"jobs": 3})
        (entry,) = await audit.read(connection, limit=10, tenant_id=tenant)
    assert (entry.actor, entry.action, entry.subject, entry.detail) == ("a@b", "test.done", "", {"jobs": 3})


async def test_a_tenant_reads_its_own_and_nobody_changes_any(worker, database, seed):
    mine, other = [await seed.tenant(worker) for _ in range(2)]
    async with worker.transaction() as connection:
        for tenant in (mine, other, None):
            await audit.note(connection, actor="a@b", action="test.seen", tenant_id=tenant)
    async with Database(DatabaseSettings(url=database.app), application="test") as app, app.tenant(mine) as connection:
        assert [entry.tenant_id for entry in await audit.read(connection, limit=10)] == [mine]
    for address in (database.app, database.worker):
        with psycopg.connect(address, autocommit=True) as connection:
            for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)
