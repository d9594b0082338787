"""Runs Alembic without an alembic.ini: the address comes from the caller, the lock from Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_LOCK = 0x6D656469616C616E  # "medialan": any fixed number that no other program takes


class DestructiveStepError(Exception):
    """A pending step drops or rewrites data and was not permitted; nothing was changed."""


def upgrade(url: str, *, target: str = "head", allow_destructive: bool = False) -> list[str]:
    """Bring the database at `url` (postgresql://...) to `target`; returns the revisions that were applied.

    Raises `DestructiveStepError`, before any change, if a pending revision has `destructive = True` and is not allowed.
    """
    with _locked(url) as connection:
        pending = _pending(connection, target)
        destructive = [r for r in pending if _is_destructive(r)]
        if destructive and not allow_destructive:
            steps = ", ".join(destructive)
            raise DestructiveStepError(
                f"migration {steps} drops or rewrites data: look at it, "
                "then set MEDIALANE_MIGRATION_ALLOW_DESTRUCTIVE=true"
            )
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, target)
        connection.commit()
        return pending


def current(url: str) -> str | None:
    """The revision that the database is at, None for an empty one."""
    engine = sa.create_engine(_driver(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision in this release."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("this release holds no migrations")
    return revision


def pending(url: str, target: str = "head") -> list[str]:
    """The revisions between the database and `target`, oldest first."""
    engine = sa.create_engine(_driver(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return _pending(connection, target)


@contextmanager
def _locked(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(_driver(url), poolclass=sa.NullPool)
    # The lock has a connection of its own, so that it outlives the migration's transaction whatever happens in it.
    with engine.connect() as guard, engine.connect() as connection:
        guard.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            yield connection
        finally:
            guard.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            guard.commit()


def _pending(connection: sa.Connection, target: str) -> list[str]:
    scripts = ScriptDirectory.from_config(_config())
    at = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    steps = scripts.iterate_revisions(target, at or "base")
    return [step.revision for step in reversed(list(steps)) if step.revision != at]


def _is_destructive(revision: str) -> bool:
    script = ScriptDirectory.from_config(_config()).get_revision(revision)
    return script is not None and bool(getattr(script.module, "destructive", False))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
