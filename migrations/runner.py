"""Runs Alembic without an alembic.ini: the address comes from the caller, the lock from Postgres.

A revision declares `phase`: `expand` (the default) only adds, and runs before the new code; `contract` takes away what
only older code needs, and runs when none of that is left.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Literal, NamedTuple

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_LOCK = 0x6D656469616C616E  # "medialan": any fixed number that no other program takes

# Whatever comes after a step that waits for a table waits behind it: heartbeats, too, whose leases last 10 s.
_LOCK_TIMEOUT_MS = 3000
_TRIES = 5
_PAUSE_S = 2.0
_CONNECT_S = 10  # what listens there may be no Postgres, and never say a word
_SESSION = {
    "timezone": "UTC", "lock_timeout": "0", "statement_timeout": "0",
    "idle_session_timeout": "0", "idle_in_transaction_session_timeout": "0",
}  # fmt: skip
_BEHIND_OTHERS = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


Phase = Literal["expand", "contract", "all"]


class DestructiveStepError(Exception):
    """A pending step drops or rewrites data and was not permitted; nothing was changed."""


class PhaseError(Exception):
    """The phase that was asked for stands behind a pending step of the other one; nothing was changed."""


class TablesInUseError(Exception):
    """A step did not get its tables' locks in time, again and again; the steps before it are applied."""


class RoleNeededError(Exception):
    """A role is not there, and the one that migrates may not make it; its step changed nothing."""


class Step(NamedTuple):
    """A revision and its phase, `expand` or `contract`."""

    revision: str
    phase: str


def upgrade(url: str, *, target: str = "head", phase: Phase = "all", allow_destructive: bool = False) -> list[str]:
    """Bring the database at `url` (postgresql://...) to `target`; returns the revisions that were applied.

    With a phase, only the pending steps of that phase that come next are applied (see `next_steps`). Raises, before any
    change, `PhaseError`, or `DestructiveStepError` if one of them has `destructive = True` and is not allowed;
    `TablesInUseError` when a step stands behind somebody else's transaction, and `RoleNeededError` when one lacks a
    role that it may not make.
    """
    with _locked(url) as connection:
        pending = [step.revision for step in next_steps(_pending(connection, target), phase)]
        if not pending:
            return []
        destructive = [r for r in pending if _is_destructive(r)]
        if destructive and not allow_destructive:
            steps = ", ".join(destructive)
            raise DestructiveStepError(
                f"migration {steps} drops or rewrites data: look at it, "
                "then set MEDIALANE_MIGRATION_ALLOW_DESTRUCTIVE=true"
            )
        _apply(connection, pending[-1])
        return pending


def _apply(connection: sa.Connection, target: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    for number in range(_TRIES):
        if number:
            sleep(_PAUSE_S)  # what queued up behind the last try goes first
        try:
            command.upgrade(config, target)
        except (sa.exc.OperationalError, psycopg.OperationalError) as error:
            connection.rollback()
            if not isinstance(getattr(error, "orig", error), _BEHIND_OTHERS):
                raise
        else:
            connection.commit()
            return
    step = _pending(connection, target)[0].revision
    raise TablesInUseError(
        f"migration {step} waits for tables that another transaction holds, and was stopped {_TRIES} times, since all "
        "else would wait behind it. Find that one in pg_stat_activity (the oldest xact_start): a backup, a report, a "
        "forgotten session. Let it end, or end it, and run `medialane migrate` again: it goes on with this step. A "
        "vacuum `to prevent wraparound` would begin anew: let that one end"
    )


def next_steps(pending: Sequence[Step], phase: Phase) -> list[Step]:
    """The pending steps that a run of one phase applies: those of that phase before the first of the other one.

    Into an empty database everything goes at once: no older code can be there. Raises `PhaseError` if steps of the
    phase are pending, but a step of the other one stands before all of them.
    """
    if phase == "all" or (pending and pending[0].revision == _first()):
        return list(pending)
    first_other = next((index for index, step in enumerate(pending) if step.phase != phase), len(pending))
    if first_other == 0 and any(step.phase == phase for step in pending):
        blocking = pending[0]
        when = (
            "once no process of the release before it runs" if blocking.phase == "contract" else "before the new code"
        )
        raise PhaseError(
            f"migration {blocking.revision} ({blocking.phase}) is pending and comes first: "
            f"run `medialane migrate --phase {blocking.phase}` {when}"
        )
    return list(pending[:first_other])


def current(url: str) -> str | None:
    """The revision that the database is at, None for an empty one."""
    with _engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision in this release."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("this release holds no migrations")
    return revision


def expanded_head() -> str:
    """The newest revision before this release's last contract steps: the schema that its code must run on, too."""
    return expanded(_steps("head", "base")).revision


def expanded(steps: Sequence[Step]) -> Step:
    """The last of the steps that is to be applied while code of the release before runs."""
    last = next((step for step in reversed(steps) if step.phase != "contract"), None)
    if last is None:
        raise RuntimeError("this release holds no migrations")
    return last


def newer(url: str) -> str | None:
    """The database's revision if this release does not know it: a newer one has migrated, and was rolled back."""
    at = current(url)
    return at if at is not None and not _known(at) else None


def pending(url: str, target: str = "head") -> list[Step]:
    """The steps between the database and `target`, oldest first; none where a newer release has been."""
    with _engine(url).connect() as connection:
        return _pending(connection, target)


@contextmanager
def _locked(url: str) -> Iterator[sa.Connection]:
    bounded = _engine(url, lock_timeout=str(_LOCK_TIMEOUT_MS))
    # The lock has a connection of its own, so that it outlives the migrations' transactions whatever happens in them.
    with _engine(url).connect() as guard, bounded.connect() as connection:
        guard.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        guard.commit()  # the lock is the session's, and no transaction is to stand open beside the steps
        try:
            yield connection
        finally:
            guard.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            guard.commit()


def _pending(connection: sa.Connection, target: str) -> list[Step]:
    at = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    if at is not None and not _known(at):
        return []
    return [step for step in _steps(target, at or "base") if step.revision != at]


def _known(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(_config())
    return any(script.revision == revision for script in scripts.walk_revisions())


def _steps(upper: str, lower: str) -> list[Step]:
    found = ScriptDirectory.from_config(_config()).iterate_revisions(upper, lower)
    return [Step(script.revision, getattr(script.module, "phase", "expand")) for script in reversed(list(found))]


def _first() -> str | None:
    return ScriptDirectory.from_config(_config()).get_base()


def _is_destructive(revision: str) -> bool:
    script = ScriptDirectory.from_config(_config()).get_revision(revision)
    return script is not None and bool(getattr(script.module, "destructive", False))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str, **session: str) -> sa.Engine:
    """Sessions in UTC, whatever the server's zone: days begin then, those of the outbox's partitions too.

    What a database bounds for its programs does not bound a step: it takes as long as its tables are large.
    """
    address = sa.make_url(url.replace("postgresql://", "postgresql+psycopg://", 1))
    settings = " ".join(f"-c {name}={value}" for name, value in (_SESSION | session).items())
    options = f"{address.query.get('options', '')} {settings}".strip()
    connect_args: dict[str, object] = {"options": options}
    if "connect_timeout" not in address.query:
        connect_args["connect_timeout"] = _CONNECT_S
    return sa.create_engine(address, poolclass=sa.NullPool, connect_args=connect_args)
