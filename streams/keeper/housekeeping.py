"""What is kept for a time only, deleted when the time is over."""

import asyncio

import structlog

from connectors.postgres import idempotency, old_deliveries
from connectors.postgres.database import Database
from schemas.errors import MedialaneError
from schemas.settings import KeeperSettings

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_BATCH = 1000
_MOST_BATCHES = 50  # in a round: a first one may find months of them, and the others' turn has to come


class Housekeeping:
    """Deletes answers to idempotent requests that may not be repeated any more, and webhook deliveries of long ago.

    Once a minute, until cancelled.
    """

    def __init__(self, database: Database, settings: KeeperSettings) -> None:
        self._database = database
        self._kept_s = settings.delivery_retention_s

    async def run(self) -> None:
        """Clean for ever; an outage of the database is waited out."""
        while True:
            try:
                await self.clean()
            except MedialaneError as error:
                log.warning("nothing was cleaned", error=str(error))
            await asyncio.sleep(_INTERVAL_S)

    async def clean(self) -> None:
        """One round."""
        async with self._database.transaction() as connection:
            purged = await idempotency.purge(connection)
        if purged:
            log.info("old answers deleted", answers=purged)
        await self._deliveries()

    async def _deliveries(self) -> None:
        gone = 0
        for _ in range(_MOST_BATCHES):
            async with self._database.transaction() as connection:
                purged = await old_deliveries.purge(connection, kept_s=self._kept_s, batch=_BATCH)
            gone += purged
            if purged < _BATCH:
                break
        if gone:
            log.info("old webhook deliveries deleted", deliveries=gone)
