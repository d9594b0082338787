"""The connection pool and the unit of work.

Every query runs in a transaction that this module opened; a database that does not answer becomes one typed error.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings

_SET_TENANT = sa.text("SELECT set_config('medialane.tenant_id', :tenant, true)")


class Database:
    """A pool of connections under one role.

    `transaction` is for the worker role, which sees every tenant; `tenant` is for the app role, which row-level
    security shows one tenant's rows and nothing else.
    """

    def __init__(self, settings: DatabaseSettings, *, application: str) -> None:
        timeout_ms = int(settings.statement_timeout_s * 1000)
        session = {"statement_timeout": timeout_ms, "timezone": "UTC", "idle_in_transaction_session_timeout": 60_000}
        self.engine = create_async_engine(
            settings.url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.pool_timeout_s,
            pool_pre_ping=True,
            connect_args={
                "application_name": f"medialane-{application}",
                "connect_timeout": 5,
                "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
            },
        )

    @property
    def pool(self) -> sa.QueuePool:
        """The connections, for gauges of how many are taken."""
        pool = self.engine.pool
        if not isinstance(pool, sa.QueuePool):
            raise TypeError(f"not a bounded pool: {type(pool).__name__}")
        return pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: commits on a clean exit, rolls back on an exception.

        Raises `MedialaneError(database_unavailable)` when Postgres does not answer or no connection is free in time;
        the transaction may then have been committed or not, as always when an answer is lost.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.") from error
        except exc.DBAPIError as error:
            if error.connection_invalidated:
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.") from error
            raise

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
        """One transaction that row-level security confines to a tenant."""
        async with self.transaction() as connection:
            await connection.execute(_SET_TENANT, {"tenant": str(tenant_id)})
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
