"""What a keeper's tasks do when they fail: jobs need its rounds, so no other task of it may end it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

T = TypeVar("T")

log = structlog.get_logger(__name__)

PASSING = (MedialaneError, DBAPIError)
"""An outage, or what the database refuses: tried again later."""


async def again(act: Callable[[], Awaitable[object]], *, pause_s: float, failed: str) -> None:
    """Act for ever, with a pause after each time; what passes is logged as `failed` and waited out."""
    while True:
        try:
            await act()
        except PASSING as error:
            log.warning(failed, error=str(error), cause=str(error.__cause__))
        await asyncio.sleep(pause_s)


async def one_of_many(act: Awaitable[T], database: Database, store: ObjectStore, failed: str, **which: str) -> T | None:
    """What the act on one row or object returns; None if it could not be had now, which is logged as `failed`.

    One bad row does not block the rest. The error alone cannot tell a bad row from an outage, so both dependencies are
    asked: raises `MedialaneError` if one of them is away, for each row to come would then fail alike.
    """
    try:
        return await act
    except PASSING as error:
        log.warning(failed, error=str(error), **which)
        await database.check()
        await store.check()
        return None
