"""The outbox's upkeep goes on after whatever the database answers: the keeper's other tasks live in its process."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from psycopg import errors
from sqlalchemy.exc import ProgrammingError

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from streams.keeper.outbox import OutboxUpkeep

OVERLAP = errors.InvalidObjectDefinition('partition "outbox_20260101" would overlap partition "outbox_20251231"')


class Refusing:
    """A database that refuses every statement."""

    def __init__(self, error):
        self.error = error
        self.asked = 0
        self.again = asyncio.Event()

    @asynccontextmanager
    async def transaction(self):
        self.asked += 1
        if self.asked > 1:
            self.again.set()
        raise self.error
        yield


@pytest.mark.parametrize(
    "error",
    [MedialaneError(ErrorCode.DATABASE_UNAVAILABLE), ProgrammingError("SELECT outbox_rotate()", {}, OVERLAP)],
    ids=["away", "refused"],
)
async def test_it_asks_again(error):
    database = Refusing(error)
    metrics = Metrics(CollectorRegistry(), process="keeper")
    upkeep = OutboxUpkeep(database, metrics, slot="s", retention_s=60, interval_s=0)
    running = asyncio.create_task(upkeep.run())
    again = asyncio.create_task(database.again.wait())
    await asyncio.wait({running, again}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    assert again.done()
    assert not running.done()
    running.cancel()
