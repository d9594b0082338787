"""Processes of this machine as /proc shows them, and waiting for what they come to."""

import contextlib
import time
from pathlib import Path


def alive(pid):
    try:
        return not _dead(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split())
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    """Living processes below one, by walking /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if not _dead(fields):
            parents[int(entry.parent.name)] = int(fields[1])
    found, front = set(), {pid}
    while front := {child for child, parent in parents.items() if parent in front}:
        found |= front
    return found


def _dead(fields):
    # Of a process whose first thread is dead, and others not, the state is that of the first.
    return fields[0] == "Z" and int(fields[17]) <= 1


def command(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):  # gone meanwhile
        return ""


def until(condition, what, bound_s=30):
    """Wait for a condition; the bound only ends a test that would hang."""
    end = time.monotonic() + bound_s
    while not (value := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
    return value


async def end(process):
    """Kill one of asyncio's if it still runs, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def environment(pid):
    """The variables that a process was started with; none are shown while one program gives way to the next."""
    return until(lambda: Path(f"/proc/{pid}/environ").read_text(), "the process runs its program").split("\0")


def ffmpeg_below(pid):
    return {p for p in descendants(pid) if command(p) == "ffmpeg"}
