"""The supervisor as a process: `python -m cli.stack.daemon FOLDER OPTIONS`.

Its standard input is a lifeline: if the pipe ends before the byte that detaches it, the caller died, and so does the
stack. Progress goes to standard output, a JSON line each.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from cli.stack import checks
from cli.stack.control import Event, Options
from cli.stack.diagnosis import refused
from cli.stack.errors import StackError
from cli.stack.layout import Layout, layout
from cli.stack.leftovers import sweep_leftovers, take_lock
from cli.stack.supervisor import Supervisor


async def serve(files: Layout, options: Options) -> int:
    """Own the stack in a folder until it is told to stop; returns the exit code."""
    try:
        files.make()
        lock = take_lock(files)
        sweep_leftovers(files)
        checks.preflight(files)
        supervisor = Supervisor(files, options, _report)
    except StackError as error:
        return _give_up(error)
    except OSError as error:
        return _give_up(refused(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: supervisor.stop(quick=False))
    _end_with_caller(supervisor)
    if options.owner is not None:
        _end_with_owner(supervisor, options.owner)
    with lock:
        try:
            return await supervisor.run()
        except OSError as error:  # a disk that is full by now
            return _give_up(refused(error))


def _give_up(error: StackError) -> int:
    _report(Event(event="error", cause=error.cause, cure=error.cure))
    return 1


def _end_with_caller(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()

    def lifeline() -> None:
        if not os.read(0, 1):
            supervisor.stop(quick=True)
        loop.remove_reader(0)

    loop.add_reader(0, lifeline)


def _end_with_owner(supervisor: Supervisor, pid: int) -> None:
    loop = asyncio.get_running_loop()
    try:
        owner = os.pidfd_open(pid)
    except ProcessLookupError:
        supervisor.stop(quick=True)
        return

    def ended() -> None:
        supervisor.stop(quick=True)
        loop.remove_reader(owner)

    loop.add_reader(owner, ended)


def _report(event: Event) -> None:
    # Nobody reads any more once the stack was detached.
    with contextlib.suppress(BrokenPipeError, ValueError):
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(layout(Path(sys.argv[1])), msgspec.json.decode(sys.argv[2], type=Options))))
