"""Readiness: every dependency is asked, at once, and has a bounded time to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import sqlalchemy as sa

from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

_PATIENCE_S = 3.0

Check = Callable[[], Awaitable[None]]


class Readiness:
    """Says what keeps the process from serving."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._checks: Mapping[str, Check] = {"database": self._ask_database, "object store": store.check}

    async def problems(self) -> tuple[str, ...]:
        """A line per dependency that does not serve; none: ready."""
        found = await asyncio.gather(*(_problem(name, check) for name, check in self._checks.items()))
        return tuple(problem for problem in found if problem is not None)

    async def _ask_database(self) -> None:
        await self._database.check()
        async with self._database.transaction() as connection:
            # A table, not a constant: an empty database answers, but cannot serve.
            await connection.execute(sa.text("SELECT FROM partitions LIMIT 1"))


async def _problem(name: str, check: Check) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await check()
    except TimeoutError:
        return f"{name}: no answer within {_PATIENCE_S:.0f} s"
    except MedialaneError as error:
        return f"{name}: {error.detail}"
    except sa.exc.SQLAlchemyError as error:
        return f"{name}: {type(error).__name__}: are the migrations applied?"
    return None
