"""When keys were last used: noted in memory, written down many at once, so that no request pays for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import structlog

from api.periodic import every
from connectors.postgres.accounts.keys import touch_keys
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

_log = structlog.get_logger(__name__)

FLUSH_S = 20.0


class LastUsed:
    """Collects and writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[UUID, datetime] = {}

    def note(self, key_id: UUID) -> None:
        """Say that a key was used just now."""
        self._seen[key_id] = datetime.now(UTC)

    async def flush(self) -> None:
        """Write down what was noted; what cannot be written is kept for the next time."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            async with self._database.transaction() as connection:
                await touch_keys(connection, seen)
        except MedialaneError as error:
            _log.warning("last use of keys not written", code=error.code)
            self._seen = seen | self._seen

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Flush now and then, and once more at the end."""
        try:
            async with every(FLUSH_S, self.flush):
                yield
        finally:
            await self.flush()
