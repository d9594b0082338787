"""A part as people and programs see it: what the state file remembers, held against the processes that run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack.layout import Layout
from cli.stack.processes import alive, resident_bytes
from cli.stack.state import PartState, StackState


@dataclass(frozen=True)
class PartView:
    """One part as it is now. `rss_bytes` covers everything it started; `ready` is what the part says itself."""

    name: str
    pid: int | None
    address: str
    state: str
    rss_bytes: int
    ready: bool
    log: Path


def view_parts(files: Layout, known: StackState, ready: Mapping[str, bool]) -> list[PartView]:
    """Every part that was ever started or is wanted; `ready` holds the answers of those that could be asked."""
    return [
        _view(files, name, known.parts.get(name, PartState(address="")), ready.get(name, False))
        for name in {**known.parts, **ready}
    ]


def _view(files: Layout, name: str, part: PartState, ready: bool) -> PartView:
    running = part.process if part.process is not None and alive(part.process.pid, part.process.started) else None
    ended = "stopped" if part.exit_code in {None, 0} else f"exit {part.exit_code}"
    return PartView(
        name=name,
        pid=running.pid if running else None,
        address=part.address,
        state="running" if running else ended,
        rss_bytes=resident_bytes(running) if running else 0,
        ready=running is not None and ready,
        log=files.log(name),
    )
