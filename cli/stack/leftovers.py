"""Who owns a stack's folder, and what a killed owner left behind."""

import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from cli.stack import sockets, state, watch
from cli.stack.errors import StackError
from cli.stack.layout import Layout


def sweep_leftovers(files: Layout) -> list[str]:
    """Kill what a dead supervisor left, by pid and start time; returns the parts that were still there."""
    before = state.load(files.state)
    if before is None:
        return []
    left = _kill_left(files, before) if before.boot == state.boot_id() else []
    sockets.remove_dead(before.ports)
    return left


def _kill_left(files: Layout, before: state.StackState) -> list[str]:
    left = []
    for name, part in before.parts.items():
        if part.process is not None and watch.kill_group(part.process.pid, part.process.started):
            left.append(name)
            while watch.alive(part.process.pid, part.process.started):
                time.sleep(0.02)
    if not left and before.supervisor is None:
        return []
    parts = {name: msgspec.structs.replace(part, process=None) for name, part in before.parts.items()}
    state.save(files.state, msgspec.structs.replace(before, parts=parts, supervisor=None, ready=False))
    return left


def take_lock(files: Layout) -> TextIO:
    """The stack's lock, held while the returned file is open. The kernel frees it at our death: never stale."""
    file = files.lock.open("a", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StackError(
            f"a stack already runs in {files.folder}", f"Use it, or stop it: {files.command('down')}"
        ) from None
    return file


@contextlib.contextmanager
def watcher(path: Path) -> Iterator[Callable[[], None]]:
    """Start the process that kills what we leave if we are killed; yields what to call when all is stopped in order."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", watch.__file__, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )

    def orderly() -> None:
        process.communicate(b"x")

    yield orderly
