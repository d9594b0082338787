"""The connection pool and the unit of work.

Every query runs in a transaction that this module opened; a database that does not answer becomes one typed error.
"""

import functools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal, Self
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from connectors.closing import Closing
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings, SettingsError, variable

_USED = "medialane.used"
_TRUSTED_S = 1.0

# A host that went without a word is noticed within seconds. What the address says of these counts more.
_NETWORK = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

# Of the states in which a server can not work now, the only one that drivers do not call operational: it became a
# standby, or takes no writes for want of space.
_READ_ONLY = "25006"
_CANCELLED = "57014"

_CLOCK = sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")

Role = Literal["app", "worker"]
"""Who a process has to be in Postgres. The owner may do what the worker role may."""

# Both roles are under row-level security, and the worker role's policies show it everything: what it may delete tells
# it from the app role. Where there are no tables yet, there is nothing to see, nor to say.
_CONFINED = sa.text("""
    SELECT row_security_active(oid) AND NOT has_table_privilege(oid, 'DELETE') FROM pg_class
    WHERE oid = to_regclass('assets')
""")
SCHEMA = "0024"
"""The newest migration that this release needs; one that is newer does not disturb it."""

_REVISION = sa.text("SELECT version_num FROM alembic_version")

_WRONG = {
    "worker": "this is a role that sees one tenant at a time, as the API's does; the worker role is needed here",
    "app": "row-level security does not confine this role to a tenant; the app role is needed here",
}


class Database(Closing):
    """A pool of connections under one role.

    `transaction` is for the worker role, which sees every tenant; `tenant` is for the app role, which row-level
    security shows one tenant's rows and nothing else.
    """

    def __init__(
        self, settings: DatabaseSettings, *, application: str, role: Role | None = None, idle_s: float = 5.0
    ) -> None:
        """`role`: who this has to be. To the app role rows of others do not exist, so that a worker under it would take
        everything for forgotten; any other would take an API's second wall away. Whether the database has had the
        migrations that this release needs (`SCHEMA`) is asked with it: on entry and, if nobody answers then, in the
        first transaction that begins, which raises `SettingsError`.

        Raises `SettingsError` if libpq knows no option that the address has.

        `idle_s`: a transaction in which nothing is said for so long ends; a frozen process must not keep its locks
        for as long as a lease lasts.
        """
        self._unproven = role
        self._statement_timeout_s = settings.statement_timeout_s
        session = {
            "statement_timeout": str(int(settings.statement_timeout_s * 1000)),
            "timezone": "UTC",
            "idle_in_transaction_session_timeout": str(int(idle_s * 1000)),
        }
        # Behind a pooler the session is anybody's: what is set or prepared in it would be others'.
        self._local = session if settings.pooled else {}
        kept: dict[str, str | None] = (
            {"prepare_threshold": None}
            if settings.pooled
            else {"options": " ".join(f"-c {name}={value}" for name, value in session.items())}
        )
        url = sa.make_url(settings.url.replace("postgresql://", "postgresql+psycopg://", 1))
        try:
            make_conninfo(**{name: str(value) for name, value in url.query.items()})
        except psycopg.ProgrammingError as error:
            raise SettingsError([f"{variable(DatabaseSettings, 'url')}: {error}"]) from error
        self.engine = create_async_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_use_lifo=True,  # the one used last: its statements are prepared, nobody asks whether it lives
            pool_timeout=settings.pool_timeout_s,
            hide_parameters=True,  # errors are logged and traced, and values are tenants' own
            connect_args={"application_name": f"medialane-{application}"}
            | kept
            | {name: value for name, value in _NETWORK.items() if name not in url.query},
        )

        self.clock_ahead_s = 0.0
        """How far our clock was ahead of Postgres' when it was last asked: what both measure differs by that."""

        _ping_what_was_idle(self.engine.sync_engine)
        _leave_what_only_reads(self.engine.sync_engine)

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
        async with self._begun(self._local) as connection:
            yield connection

    @asynccontextmanager
    async def tenant(
        self, tenant_id: UUID, *, generic_plans: bool = False, longest_s: float | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """One transaction that row-level security confines to a tenant.

        `generic_plans`: plan each statement once per connection, not for its values. For few rows by their keys that
        is the plan anyway (what the planner is told of tenants sees to it), and making it takes longer than running it.

        `longest_s`: for statements whose cost is the caller's choice, how long one may take. Raises, beyond that,
        `MedialaneError(query_timeout)`: the database is well, and the same again would take as long.
        """
        local = {"medialane.tenant_id": str(tenant_id)}
        if generic_plans:
            local["plan_cache_mode"] = "force_generic_plan"
        if longest_s is not None:
            local["statement_timeout"] = str(int(min(longest_s, self._statement_timeout_s) * 1000))
        try:
            async with self._begun(self._local | local) as connection:
                yield connection
        except MedialaneError as error:
            if longest_s is not None and _was_cancelled(error.__cause__):
                raise MedialaneError(ErrorCode.QUERY_TIMEOUT) from error.__cause__
            raise

    async def time(self, *, behind: sa.TextClause | None = None) -> float:
        """What Postgres' clock shows, seconds since 1970. Raises `MedialaneError(database_unavailable)`.

        `behind`: a statement that is made before, in the same transaction. What it waits for, the answer waits for.
        """
        async with self.transaction() as connection:
            if behind is not None:
                await connection.execute(behind)
            before = time.time()
            shown: float = (await connection.execute(_CLOCK)).scalar_one()
            self.clock_ahead_s = (before + time.time()) / 2 - shown
        return shown

    async def check(self) -> None:
        """Return if Postgres answers. Raises `MedialaneError(database_unavailable)`."""
        await self.time()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        """Raises `SettingsError` if this is not the role that was asked for; a database that is away is no obstacle."""
        if self._unproven is not None:
            try:
                with suppress(MedialaneError):
                    await self.check()
            except BaseException:
                await self.close()
                raise
        return self

    async def _prove(self, connection: AsyncConnection, role: Role) -> None:
        confined: bool | None = (await connection.execute(_CONFINED)).scalar_one_or_none()
        if confined is not None and confined is not (role == "app"):
            raise SettingsError([f"{variable(DatabaseSettings, 'url')}: {_WRONG[role]}"])
        if confined is not None:
            await _prove_schema(connection)
        self._unproven = None

    @asynccontextmanager
    async def _begun(self, local: Mapping[str, str]) -> AsyncIterator[AsyncConnection]:
        """A transaction with these settings for as long as it lasts."""
        try:
            async with self.engine.begin() as connection:
                if self._unproven is not None:
                    await self._prove(connection, self._unproven)
                if local:
                    await connection.execute(
                        _set_local(tuple(local)), {f"v{n}": value for n, value in enumerate(local.values())}
                    )
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.") from error
        except exc.DBAPIError as error:
            if error.connection_invalidated:
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.") from error
            raise


async def _prove_schema(connection: AsyncConnection) -> None:
    try:
        revision: str = (await connection.execute(_REVISION)).scalar_one()
    except exc.ProgrammingError:  # from before anybody was allowed to ask
        revision = "an older migration"
    if not revision.isdigit() or revision < SCHEMA:
        behind = f"this database is at {revision}, this release needs {SCHEMA}: run `medialane migrate --phase expand`"
        raise SettingsError([f"{variable(DatabaseSettings, 'url')}: {behind} first"])


def _was_cancelled(error: BaseException | None) -> bool:
    return isinstance(error, exc.DBAPIError) and getattr(error.orig, "sqlstate", None) == _CANCELLED


@functools.cache
def _set_local(names: tuple[str, ...]) -> sa.TextClause:
    """One statement for all of them, made once: it is the first of nearly every transaction."""
    return sa.text("SELECT " + ", ".join(f"set_config('{name}', :v{n}, true)" for n, name in enumerate(names)))


def _ping_what_was_idle(engine: sa.Engine) -> None:
    """Ask a connection whether it lives before it is used, unless it did a moment ago.

    SQLAlchemy's own pre-ping asks always: a round trip for every transaction.
    """

    @event.listens_for(engine, "checkin")
    def note(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_USED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        used = record.info.get(_USED)
        if used is None or time.monotonic() - used < _TRUSTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.InvalidatePoolError from error


def _leave_what_only_reads(engine: sa.Engine) -> None:
    """Count a write that a read-only server refused as a lost connection: its successor may lead to one that writes."""

    @event.listens_for(engine, "handle_error")
    def leave(context: sa.ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False  # the others go when they refuse, too; meanwhile they read
