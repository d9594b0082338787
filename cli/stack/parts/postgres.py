"""Postgres with logical decoding, every durability switch at its safe default."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import time
from pathlib import Path

import psycopg

from cli.stack.checks import postgres_programs
from cli.stack.environment import ADMIN, DATABASE, HOST, database_url
from cli.stack.errors import StackError
from cli.stack.layout import POSTGRES_USER
from cli.stack.parts.base import Context, Part, run_once
from cli.stack.processes import Command, anybody_in

_SETTINGS = {
    "listen_addresses": HOST,
    "wal_level": "logical",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "300",
    "max_replication_slots": "64",
    "max_wal_senders": "64",
    # A slot that nobody reads may not fill the disk; the connector then starts over with a snapshot.
    "max_slot_wal_keep_size": "2GB",
    "shared_buffers": "128MB",
    # Tables grow from nothing to thousands of rows in a stack's first minute, and what the planner knows has to follow.
    "autovacuum_naptime": "10s",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
}
_MARKER = "postgres.made-by"  # holds a digest of the password that the cluster beside it was made with
_LEFTOVERS_BOUND_S = 10.0  # a server's children end by themselves once they see that it is gone
_SOCKET_PATH_LIMIT = 107  # bytes of a Unix socket's address on Linux


def postgres(context: Context) -> Part:
    """The database server. As root it runs under Debian's `postgres` user, because it refuses to be root."""
    data = context.layout.postgres_data
    port = context.ports["postgres"]
    # The data folder is the one place that the server's user may surely write to; a long path rules sockets out.
    sockets = str(data) if len(f"{data}/.s.PGSQL.{port}") <= _SOCKET_PATH_LIMIT else ""
    options = {**_SETTINGS, "port": str(port), "unix_socket_directories": sockets}
    flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    url = database_url(context.ports, ADMIN, context.secrets.postgres_password, "postgres")

    async def ready() -> bool:
        with contextlib.suppress(psycopg.Error, OSError):
            async with await psycopg.AsyncConnection.connect(url, connect_timeout=2, autocommit=True) as connection:
                await connection.execute("SELECT 1")
                return True
        return False

    async def prepare() -> None:
        if data.exists() and not _belongs(data, context):
            _refuse_or_forget(data, context)
        if not data.exists():
            await _initialise(data, context)
        await _forget_dead_server(data)

    return Part(
        name="postgres",
        command=Command([str(postgres_programs() / "postgres"), "-D", str(data), *flags], user=_user()),
        address=f"{HOST}:{port}",
        ready=ready,
        listens=(port,),
        prepare=prepare,
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to leave
        stop_bound_s=15.0,
    )


async def create_database(context: Context) -> None:
    """Make the stack's database if it is not there."""
    url = database_url(context.ports, ADMIN, context.secrets.postgres_password, "postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            await connection.execute(f"CREATE DATABASE {DATABASE}")


def _belongs(data: Path, context: Context) -> bool:
    marker = data.with_name(_MARKER)
    return marker.exists() and marker.read_text(encoding="ascii") == _mark(context)


def _mark(context: Context) -> str:
    return hashlib.sha256(context.secrets.postgres_password.encode()).hexdigest()


def _refuse_or_forget(data: Path, context: Context) -> None:
    """A cluster whose password nobody knows any more, because its stack's folder was deleted or its state was."""
    if data.is_relative_to(context.layout.folder):
        cure = f"Delete {context.layout.folder}, or put its state.json back"
        raise StackError(f"the database in {data} was made with other passwords than those in state.json", cure)
    # Outside of the folder, where deleting the folder could not reach it: this is what was meant to go.
    shutil.rmtree(data)


async def _forget_dead_server(data: Path) -> None:
    """Wait for what a killed server left to end, then remove its lock files, of the data and of the socket.

    Postgres takes the number in them for a rival while the number is in use, be it by a zombie that nobody has
    collected yet or by another program. The folder is ours: the stack's own lock says so.
    """
    deadline = time.monotonic() + _LEFTOVERS_BOUND_S
    while anybody_in(data):
        if time.monotonic() > deadline:
            return  # alive indeed: Postgres will refuse, and say so
        await asyncio.sleep(0.05)
    for lock in _locks(data):
        lock.unlink(missing_ok=True)


def _locks(data: Path) -> list[Path]:
    return [data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")]


def _user() -> str | None:
    return POSTGRES_USER if os.geteuid() == 0 else None


async def _initialise(data: Path, context: Context) -> None:
    """Run initdb into a folder beside, moved into place when complete: half a cluster is never mistaken for one."""
    unfinished = data.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    passwords = context.layout.config / "postgres-password"
    passwords.write_text(context.secrets.postgres_password, encoding="ascii")
    passwords.chmod(0o600)
    user = _user()
    if user is not None:
        shutil.chown(unfinished, user, user)
        shutil.chown(passwords, user, user)
    descriptor = os.open(passwords, os.O_RDONLY)  # read through the descriptor: its user may not enter our folder
    try:
        argv = [
            str(postgres_programs() / "initdb"), "-D", str(unfinished), "-U", ADMIN, "-A", "scram-sha-256",
            f"--pwfile=/dev/fd/{descriptor}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
        ]  # fmt: skip
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"] if user else []
        await run_once(context, "postgres", [*as_user, *argv], cwd="/", pass_fds=(descriptor,))
    finally:
        os.close(descriptor)
        passwords.unlink()
    data.with_name(_MARKER).write_text(_mark(context), encoding="ascii")
    unfinished.rename(data)
