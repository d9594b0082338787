"""What operators' commands share: the database under the worker role, and one transaction of it from click commands."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings, load

T = TypeVar("T")

_IDLE_S = 120.0  # a command may compute over a million rows before it asks the next thing


def worker_database(*, idle_s: float = 5.0) -> Database:
    """The database that MEDIALANE_DATABASE_URL names (worker or owner role), by one connection.

    Raises `SettingsError` if it is not set, and on entry if its role is another. `idle_s` as of `Database`.
    """
    settings = msgspec.structs.replace(load(DatabaseSettings, os.environ), pool_size=1)
    return Database(settings, application="cli", role="worker", idle_s=idle_s)


def in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` in one transaction of the database that MEDIALANE_DATABASE_URL names (worker or owner role).

    Raises `SettingsError` if it is not set, `MedialaneError` if it does not answer, and what `work` raises.
    """
    return asyncio.run(_in_transaction(work))


async def _in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async with worker_database(idle_s=_IDLE_S) as database, database.transaction() as connection:
        return await work(connection)
