"""What operators' commands share: one transaction under the worker role, from synchronous click commands."""

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


def in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` in one transaction of the database that MEDIALANE_DATABASE_URL names (worker or owner role).

    Raises `SettingsError` if it is not set, `MedialaneError` if it does not answer, and what `work` raises.
    """
    settings = load(DatabaseSettings, os.environ)
    return asyncio.run(_in_transaction(msgspec.structs.replace(settings, pool_size=1), work))


async def _in_transaction(settings: DatabaseSettings, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    made = Database(settings, application="cli", role="worker", idle_s=_IDLE_S)
    async with made as database, database.transaction() as connection:
        return await work(connection)
