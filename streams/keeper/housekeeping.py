"""What is kept for a time only, deleted when the time is over."""

import asyncio

import structlog

from connectors.postgres import idempotency
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0


class Housekeeping:
    """Deletes answers to idempotent requests that may no longer be repeated, once a minute, until cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
