"""Lists whose cost is their caller's choice: few of a tenant's at a time, and none for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from connectors.shares import Shares
from schemas.errors import ErrorCode, MedialaneError

_PATIENCE_S = 5.0
_LONGEST_S = 5.0
_AGAIN_S = 1.0


class Lists:
    """What of a process' connections lists may have, of whatever they are: there is one of it.

    `at_once`: how many one tenant's lists may have together.
    """

    def __init__(self, database: Database, *, at_once: int) -> None:
        self._database = database
        self._shares = Shares(at_once)

    @asynccontextmanager
    async def begun(self, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
        """A transaction of the tenant's for one list, once it is its turn.

        Raises `MedialaneError`: rate_limited while too many of the tenant's lists are under way, query_timeout for one
        that takes too long, database_unavailable.
        """
        async with self._turn(tenant_id), self._database.tenant(tenant_id, longest_s=_LONGEST_S) as connection:
            yield connection

    @asynccontextmanager
    async def _turn(self, tenant_id: UUID) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._shares.take(tenant_id)
        except TimeoutError as error:
            detail = "Too many lists are under way for you; come again."
            raise MedialaneError(ErrorCode.RATE_LIMITED, detail, retry_after_s=_AGAIN_S) from error
        try:
            yield
        finally:
            self._shares.give_back(tenant_id)
