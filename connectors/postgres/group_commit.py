"""Group commit: what a tenant's callers want written while a transaction is under way goes into the next one together.

A commit costs round trips, a flush of the write-ahead log and a poll of the connector whether it carries one row or
fifty. Nobody waits for company: who comes alone is written at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from schemas.errors import MedialaneError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_MOST = 64

Write = Callable[[AsyncConnection, UUID, Sequence[Item]], Awaitable[Sequence[Outcome]]]
"""Writes items of one tenant; what came of each, in the order given."""


class GroupCommit(Generic[Item, Outcome]):
    """Writes items by `write`, many in one transaction, which is the tenant's (`Database.tenant`)."""

    def __init__(self, database: Database, write: Write[Item, Outcome]) -> None:
        self._database = database
        self._write = write
        self._waiting: dict[UUID, list[tuple[Item, asyncio.Future[Outcome]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, tenant_id: UUID, item: Item) -> Outcome:
        """Have an item written; returns when it is committed. Raises what `Database.tenant` and its own write raise.

        A caller that is cancelled does not take its item back: it may be written, as with any answer that is lost.
        """
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(tenant_id)
        if waiting is None:
            self._waiting[tenant_id] = [(item, done)]
            task = asyncio.create_task(self._work(tenant_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            waiting.append((item, done))
        return await done

    async def _work(self, tenant_id: UUID) -> None:
        while waiting := self._waiting[tenant_id]:
            batch = waiting[:_MOST]
            del waiting[:_MOST]
            await self._commit(tenant_id, batch)
        del self._waiting[tenant_id]

    async def _commit(self, tenant_id: UUID, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        try:
            async with self._database.tenant(tenant_id) as connection:
                outcomes = await self._write(connection, tenant_id, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is the callers'
            if len(batch) == 1 or isinstance(error, MedialaneError):
                _tell(batch, error)
                return
            for one in batch:  # one of them is to blame, and the others shall not suffer for it
                await self._commit(tenant_id, [one])
            return
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if not done.done():
                done.set_result(outcome)


def _tell(batch: Sequence[tuple[Item, asyncio.Future[Outcome]]], error: Exception) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(error)
