"""What the demo and the bench share as programs: a stack with progress on the terminal, and an end in good order."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console

from cli.harness.platform import Platform
from cli.stack import Stack, StackError
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


def begin_empty(folder: Path, *, own: Path) -> None:
    """See to it that a stack started in `folder` begins on empty data.

    In the program's `own` folder the data of the last run goes. In any other it may be somebody's: raises `StackError`.
    A stack that still runs stays as it is: starting it says so.
    """
    files = layout(folder)
    if not files.is_stack or Stack(files).is_running:
        return
    if files != layout(own):
        raise StackError(
            f"{files.folder} holds the data of a stack that was stopped",
            f"Choose another folder, or delete it: {files.command('down --purge')}",
        )
    files.delete()


def platform_of(stack: Stack) -> Platform:
    """The stack as its clients see it."""
    return Platform.of(stack.env, stack.log("api").parent)
