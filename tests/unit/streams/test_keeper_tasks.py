"""Whatever the database answers, the keeper's tasks go on: jobs need its rounds, and they live in one process."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from psycopg import errors
from sqlalchemy.exc import ProgrammingError

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KeeperSettings
from streams.keeper import abandoned, backlog, housekeeping, orphans, outbox, oversized, position, purging

OVERLAP = errors.InvalidObjectDefinition('partition "outbox_20260101" would overlap partition "outbox_20251231"')
METRICS = Metrics(CollectorRegistry(), process="keeper")
SETTINGS = KeeperSettings()

TASKS = {
    abandoned: lambda database: abandoned.AbandonedUploads(database, None, SETTINGS, METRICS),
    backlog: lambda database: backlog.BacklogGauges(database, METRICS),
    housekeeping: lambda database: housekeeping.Housekeeping(database, SETTINGS),
    orphans: lambda database: orphans.Orphans(database, None, SETTINGS, METRICS),
    outbox: lambda database: outbox.OutboxUpkeep(database, METRICS, slot="s", retention_s=60, interval_s=0),
    oversized: lambda database: oversized.OversizedUploads(database, None),
    position: lambda database: position.ConnectorPosition(Connect(), database, METRICS, connector="c", slot="s"),
    purging: lambda database: purging.Purging(database, None, SETTINGS, METRICS),
}


class Connect:
    """Answers."""

    async def position(self, name, *, server):
        return None


class Refusing:
    """A database that refuses every statement."""

    def __init__(self, error):
        self.error = error
        self.asked = 0
        self.again = asyncio.Event()

    @asynccontextmanager
    async def transaction(self):
        self.asked += 1
        if self.asked > len(TASKS):  # more than any of them asks in one round
            self.again.set()
        raise self.error
        yield


@pytest.mark.parametrize("module", TASKS, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.parametrize(
    "error",
    [MedialaneError(ErrorCode.DATABASE_UNAVAILABLE), ProgrammingError("SELECT outbox_rotate()", {}, OVERLAP)],
    ids=["away", "refused"],
)
async def test_it_asks_again(module, error, monkeypatch):
    monkeypatch.setattr(module, "_INTERVAL_S", 0, raising=False)
    database = Refusing(error)
    running = asyncio.create_task(TASKS[module](database).run())
    again = asyncio.create_task(database.again.wait())
    await asyncio.wait({running, again}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    assert again.done()
    assert not running.done()
    running.cancel()
