"""Progress bars of files on their way."""

import sys

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


def transfers(console: Console, *, disable: bool) -> Progress:
    """A bar per file: its name, its bytes, and how fast they go."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # Lines that are printed meanwhile stand above the bars, but are no part of them where they go somewhere else.
    return Progress(*columns, console=console, disable=disable, redirect_stdout=sys.stdout.isatty())
