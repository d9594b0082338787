"""Group commit: what callers want written while a transaction is under way goes into the next one together.

A commit costs round trips, a flush of the write-ahead log and a poll of the connector whether it carries one row or
fifty. Nobody waits for company: who comes alone is written at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from schemas.errors import MedialaneError

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_MOST = 64

Begin = Callable[[Key], AbstractAsyncContextManager[AsyncConnection]]
Write = Callable[[AsyncConnection, Key, Sequence[Item]], Awaitable[Sequence[Outcome]]]
"""Writes items that share a key; what came of each, in the order given."""


class GroupCommit(Generic[Key, Item, Outcome]):
    """Writes items by `write`, many in one transaction that `begin` opens; those of different keys never share one."""

    def __init__(self, begin: Begin[Key], write: Write[Key, Item, Outcome]) -> None:
        self._begin = begin
        self._write = write
        self._waiting: dict[Key, list[tuple[Item, asyncio.Future[Outcome]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, key: Key, item: Item) -> Outcome:
        """Have an item written; returns when it is committed. Raises what `begin` and its own write raise.

        A caller that is cancelled does not take its item back: it may be written, as with any answer that is lost.
        """
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = [(item, done)]
            task = asyncio.create_task(self._work(key))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            waiting.append((item, done))
        return await done

    async def _work(self, key: Key) -> None:
        while waiting := self._waiting[key]:
            batch = waiting[:_MOST]
            del waiting[:_MOST]
            await self._commit(key, batch)
        del self._waiting[key]

    async def _commit(self, key: Key, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        try:
            async with self._begin(key) as connection:
                outcomes = await self._write(connection, key, [item for item, _ in batch])
            told = list(zip(batch, outcomes, strict=True))
        except Exception as error:  # noqa: BLE001 - it is the callers'
            if len(batch) == 1 or isinstance(error, MedialaneError):
                _tell(batch, error)
                return
            for one in batch:  # one of them is to blame, and the others shall not suffer for it
                await self._commit(key, [one])
            return
        for (_, done), outcome in told:
            if not done.done():
                done.set_result(outcome)


def by_tenant(database: Database, write: Write[UUID, Item, Outcome]) -> GroupCommit[UUID, Item, Outcome]:
    """Groups of one tenant's items, each in a transaction that row-level security confines to it."""
    return GroupCommit(partial(database.tenant, generic_plans=True), write)


def across_tenants(
    database: Database, write: Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Outcome]]]
) -> GroupCommit[None, Item, Outcome]:
    """Groups of whatever comes, for the worker role; the key is None."""
    return GroupCommit(lambda _: database.transaction(), lambda connection, _, items: write(connection, items))


def _tell(batch: Sequence[tuple[Item, asyncio.Future[Outcome]]], error: Exception) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(error)
