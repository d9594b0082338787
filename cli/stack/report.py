"""What people see of a stack: progress, the table of parts, logs. Plain lines where nobody watches a terminal."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.table import Table

from cli.stack.control import Event
from cli.stack.library import Stack
from cli.stack.view import PartView

_TOLD_S = 2.0
_MB = 1024 * 1024
_TAIL_BYTES = 1 << 20


class Progress:
    """Prints each step when it is done, with its seconds if it took long; on a terminal also what time goes by."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._status = self._console.status("starting")
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, event: Event) -> None:
        """Print one step."""
        took = f" ({event.seconds:.1f} s)" if event.seconds >= _TOLD_S else ""
        if event.event == "ready":
            self._console.print(f"stack ready in {event.seconds:.1f} s")
        else:
            self._console.print(f"  {event.name} ready{took}")
        self._status.update(f"starting, {time.monotonic() - self._begun:.0f} s so far")
        sys.stdout.flush()


def print_addresses(stack: Stack) -> None:
    """Where everything listens, and how to use it from a shell."""
    console = Console(highlight=False, soft_wrap=True)
    for name, address in stack.addresses.items():
        console.print(f"  {name:<13} {address}")
    console.print(f"Its variables: source {stack.folder / 'env'}")


def print_status(views: Sequence[PartView]) -> None:
    """The table of parts; tab-separated where nobody watches, so that scripts can cut it."""
    console = Console(highlight=False)
    columns = ("part", "pid", "address", "state", "RSS MB", "ready")
    rows = [
        (v.name, str(v.pid or "-"), v.address, v.state, f"{v.rss_bytes / _MB:.0f}", "yes" if v.ready else "no")
        for v in views
    ]
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row, style=None if row[-1] == "yes" else "red")
    console.print(table)


def follow(paths: Sequence[Path], *, lines: int, forever: bool) -> None:
    """Print the last lines of each file, named if there are several, then what is added, until Ctrl-C."""
    prefix = {path: f"{path.stem}: " if len(paths) > 1 else "" for path in paths}
    files = {}
    for path in paths:
        file = path.open("rb")
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        files[path] = file
        last = file.read().decode(errors="replace").splitlines()
        for line in last[max(0, len(last) - lines) :]:
            click.echo(f"{prefix[path]}{line}")
    try:
        while forever:
            for path, file in files.items():
                for added in file:
                    click.echo(prefix[path] + added.decode(errors="replace"), nl=False)
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        for file in files.values():
            file.close()
