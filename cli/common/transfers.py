"""Progress bars of files on their way."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


def transfers(console: Console, *, disable: bool) -> Progress:
    """A bar per file: its name, its bytes, and how fast they go."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, disable=disable)
