"""Old rows are deleted as fast as they come: a round that left some is followed by the next one at once."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KeeperSettings
from streams.keeper import housekeeping
from streams.keeper.housekeeping import Housekeeping


class Database:
    """One whose transactions do nothing."""

    @asynccontextmanager
    async def transaction(self):
        yield None


@pytest.fixture
def left(monkeypatch):
    """Rows that are too old, by their kind; None: the database is away for these."""
    rows = {}

    def rule(what):
        async def delete(_connection, *, batch, **_how):
            if rows.get(what, 0) is None:
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
            deleted = min(batch, rows.get(what, 0))
            if what in rows:
                rows[what] -= deleted
            return deleted

        return delete

    monkeypatch.setattr(housekeeping, "_BATCH", 2)
    monkeypatch.setattr(housekeeping, "_MOST_BATCHES", 3)
    monkeypatch.setattr("connectors.postgres.idempotency.purge", rule("answers"))
    monkeypatch.setattr("connectors.postgres.webhooks.old_deliveries.purge", rule("deliveries"))
    monkeypatch.setattr("connectors.postgres.webhooks.old_endpoints.purge", rule("endpoints"))
    monkeypatch.setattr("connectors.postgres.webhooks.old_endpoints.forget_old_secrets", rule("secrets"))
    monkeypatch.setattr("connectors.postgres.assets.purge.forget", rule("assets"))
    monkeypatch.setattr("connectors.postgres.protocol.letters.purge_records", rule("records"))
    monkeypatch.setattr("connectors.postgres.accounts.keys.purge", rule("keys"))
    monkeypatch.setattr("connectors.postgres.audit.purge", rule("audit"))
    return rows


@pytest.fixture
async def until_it_rests(monkeypatch):
    """Keeps house until it is about to sleep."""

    async def run():
        with monkeypatch.context() as patched:
            rests = asyncio.Event()

            async def sleep(_s):
                rests.set()
                await asyncio.Event().wait()

            patched.setattr(housekeeping.asyncio, "sleep", sleep)
            running = asyncio.create_task(Housekeeping(Database(), KeeperSettings()).run())
            async with asyncio.timeout(10):
                await rests.wait()
            running.cancel()

    return run


async def test_it_rests_when_nothing_is_left(left, until_it_rests):
    left.update(answers=1, deliveries=100, endpoints=20, secrets=7, assets=13)
    await until_it_rests()
    assert left == dict.fromkeys(left, 0)


async def test_it_rests_when_the_database_is_away(left, until_it_rests):
    left.update(answers=None, deliveries=5, endpoints=3, secrets=None, assets=None)
    await until_it_rests()
    assert left == {"answers": None, "deliveries": 0, "endpoints": 0, "secrets": None, "assets": None}
