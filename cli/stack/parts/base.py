"""What a part is, and what several parts share: probes, templates, programs that prepare a folder."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack.diagnosis import diagnose
from cli.stack.environment import HOST
from cli.stack.layout import TEMPLATES, Layout
from cli.stack.processes import Command
from cli.stack.state import Secrets

_ANSWER_S = 2.0


@dataclass(frozen=True)
class Context:
    """What parts are made from. `overrides` are for the one part that is started: environment variables of
    Medialane's own processes, properties of Connect.
    """

    layout: Layout
    ports: Mapping[str, int]
    secrets: Secrets
    overrides: Mapping[str, str] = field(default_factory=dict)


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Part:
    """One program of the stack.

    `prepare` runs before each start and may be slow the first time; `ready` is asked again and again until it says
    yes and must not raise; `listens` are the ports that must be free at the start.
    """

    name: str
    command: Command
    address: str
    ready: Callable[[], Awaitable[bool]]
    listens: tuple[int, ...] = ()
    prepare: Callable[[], Awaitable[None]] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    stop_bound_s: float = 10.0
    start_bound_s: float = 180.0  # generous: a busy machine is slow, not broken


def fill_template(
    name: str, target: Path, values: Mapping[str, object], instead: Mapping[str, object] | None = None
) -> None:
    """Write a template of deploy/local with its `{{placeholders}}` filled.

    `instead` are properties that replace the template's of the same name; None leaves one out.
    """
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", str(value))
    changed = instead or {}
    lines = [line for line in text.splitlines() if line.partition("=")[0] not in changed]
    lines += [f"{key}={value}" for key, value in changed.items() if value is not None]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


async def run_once(
    context: Context, name: str, argv: Sequence[str], *, cwd: str | None = None, pass_fds: Sequence[int] = ()
) -> None:
    """Run a program that prepares a part; what it prints is in the part's log. Raises `StackError` if it fails."""
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, pass_fds=pass_fds,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    log_path = context.layout.log(name)
    with log_path.open("ab") as log:
        log.write(output)
    if process.returncode != 0:
        raise diagnose(name, output.decode(errors="replace"), exit_code=process.returncode, log_path=log_path)


async def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        return True
    return False


async def http_status(port: int, path: str) -> int | None:
    """The status that a loopback HTTP server answers to a GET, None if it does not answer in time.

    By hand, because it is asked many times during a start and needs nothing but the first line.
    """
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
                line = await reader.readline()
            finally:
                writer.close()
        return int(line.split()[1])
    return None
