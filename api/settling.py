"""What is owed to the claims of idempotency keys: that the work is done, or given up.

While the database is away it cannot be written, and the key would be in use, by nobody, until its claim ends by itself:
longer than a client that was told to come again in a second waits. So it is written once the database is back.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from connectors.postgres.idempotency import CLAIM_S
from schemas.errors import MedialaneError

_PAUSE_S = 0.5

Write = Callable[[AsyncConnection], Awaitable[object]]


class _Owed(NamedTuple):
    tenant_id: UUID
    write: Write
    until: float


class Settling:
    """Writes now, or later. What is late is written one after the other: a database that came back has enough to do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owed: deque[_Owed] = deque()
        self._later: asyncio.Task[None] | None = None

    async def settle(self, tenant_id: UUID, write: Write) -> None:
        """Run `write` in a transaction of the tenant: now if the database answers, or else when it does again."""
        owed = _Owed(tenant_id, write, time.monotonic() + CLAIM_S)
        if await self._written(owed):
            return
        self._owed.append(owed)
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._write_the_rest())

    async def close(self) -> None:
        """Leave what is owed to the claims' own end."""
        if self._later is not None:
            self._later.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._later

    async def _write_the_rest(self) -> None:
        while self._owed:
            owed = self._owed.popleft()
            if owed.until > time.monotonic() and not await self._written(owed):
                self._owed.append(owed)
                await asyncio.sleep(_PAUSE_S)

    async def _written(self, owed: _Owed) -> bool:
        try:
            async with self._database.tenant(owed.tenant_id) as connection:
                await owed.write(connection)
        except MedialaneError:
            return False
        return True
