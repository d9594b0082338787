"""What the demo and the bench share as programs: a stack with progress on the terminal, and an end in good order."""

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console

from cli.platform import Platform
from cli.stack import Stack
from cli.stack.control import Event
from cli.stack.layout import layout


class Progress:
    """Lines with the seconds since the beginning, so that nobody looks at a silent terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def tell(self, what: str) -> None:
        """Say what was just done."""
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  {what}", highlight=False, soft_wrap=True)

    def stack_event(self, event: Event) -> None:
        """Say how far the stack is."""
        if event.event == "ready":
            self.tell("stack ready: a row has travelled from the outbox to a consumer")
        elif event.name:
            self.tell(f"{event.name} ({event.seconds:.1f} s)")


@contextlib.contextmanager
def ends_in_good_order() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP unwind the program like Ctrl-C does, so that what it started is stopped."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    former = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def forget(folder: Path) -> None:
    """Delete the data of a stack that no longer runs, so that what follows begins on an empty one.

    Touches nothing that is not a stack's folder. A stack that still runs stays as it is: starting it says so.
    """
    files = layout(folder)
    if not files.state.is_file() or Stack(files).is_running:
        return
    shutil.rmtree(files.postgres_data, ignore_errors=True)
    shutil.rmtree(files.folder, ignore_errors=True)


def platform_of(stack: Stack) -> Platform:
    """The stack as its clients see it."""
    return Platform.of(stack.env, stack.log("api").parent)
