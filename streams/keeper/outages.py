"""What a keeper's tasks do when they fail: jobs need its rounds, so no other task of it may end it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import DBAPIError

from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

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


async def both_answer(database: Database, store: ObjectStore) -> None:
    """Raise `MedialaneError` if the database or the store is away: what failed then says nothing of the next one.

    Both call it the same when only one row or object can not be had now.
    """
    await database.check()
    await store.check()
