"""How commands and the supervisor talk: options at its start, events while it comes up, then requests.

A request is one JSON line each way over a Unix socket in the stack's folder.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from cli.stack.errors import StackError
from cli.stack.layout import layout

Operation = Literal["ensure", "start", "stop", "kill", "restart", "ready", "shutdown"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and to which part (`parts`: for ensure).

    `env` is for start and restart, `signal` for kill, `quick` for shutdown.
    """

    op: Operation
    part: str = ""
    parts: tuple[str, ...] = ()
    env: dict[str, str] = {}
    signal: int = 9
    quick: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`cause` is empty when it was done. `ready` answers the operation of that name, per part."""

    cause: str = ""
    cure: str = ""
    ready: dict[str, bool] = {}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `parts` in any order; `ports` are pinned ones; the stack ends when the process `owner` does.

    `brokers`: how many (None: as many as the folder's stack has, or one).
    """

    parts: tuple[str, ...]
    ports: dict[str, int] = {}
    brokers: int | None = None
    owner: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of progress: a step that is done (with its seconds), `ready`, or `error` with cause and cure."""

    event: str
    name: str = ""
    seconds: float = 0.0
    cause: str = ""
    cure: str = ""


Handler = Callable[[Request], Awaitable[Answer]]


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Listen; a `StackError` in the handler becomes its answer."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                answer = await handler(msgspec.json.decode(await reader.readline(), type=Request))
            except StackError as error:
                answer = Answer(cause=error.cause, cure=error.cure)
            except msgspec.MsgspecError as error:
                answer = Answer(cause=f"a request that makes no sense: {error}")
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(connected, sock=_listener(path))


def call(path: Path, request: Request, *, timeout_s: float = 600.0) -> Answer:
    """Ask the supervisor. Raises `StackError` with its refusal, or when there is no supervisor."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(path) as address:
            connection.settimeout(timeout_s)
            connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            line = connection.makefile("rb").readline()
    except TimeoutError as error:
        raise StackError(f"the supervisor did not answer within {timeout_s:.0f} s", "See its log") from error
    except OSError as error:
        files = layout(path.parent)
        raise StackError(f"no stack runs in {files.folder}", f"Start one: {files.command('up')}") from error
    if not line:
        raise StackError("the supervisor ended before it answered", "See its log")
    answer = msgspec.json.decode(line, type=Answer)
    if answer.cause:
        raise StackError(answer.cause, answer.cure)
    return answer


def _listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with _short(path) as address:
        listener.bind(address)
    path.chmod(0o600)
    return listener


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A socket's address, however long its path: the kernel takes 107 bytes, so go by its folder's descriptor."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
