"""The last resort: a process that outlives a killed supervisor just long enough to kill what it left.

Run as a script, with nothing but the standard library, so that it is small and starts at once: `watch.py STATE`.
Its standard input is a pipe that the supervisor holds. A byte means that the supervisor stops in good order; the
end of the pipe without one means that it died.
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path


def stat(pid: int) -> tuple[int, int, str] | None:
    """A process's group, start time in clock ticks, and state letter; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses and may hold anything, so count from its end.
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[2]), int(fields[19]), fields[0]


def alive(pid: int, started: int) -> bool:
    """Whether that very process (not another with its number) still runs."""
    found = stat(pid)
    return found is not None and found[1] == started and found[2] not in "ZX"


def kill_group(pid: int, started: int, number: int = signal.SIGKILL) -> bool:
    """Signal the group that a process leads, also when only its children are left; False if nothing was there.

    A number that now belongs to a process with another start time has been reused: it is left alone.
    """
    found = stat(pid)
    if found is not None and found[1] != started:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return True
    return False


def sweep(path: Path) -> None:
    """Kill every group that the state file names."""
    state = json.loads(path.read_bytes())
    for part in state["parts"].values():
        if part["process"]:
            kill_group(part["process"]["pid"], part["process"]["started"])


def main() -> None:
    """Wait for the supervisor's end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not sys.stdin.buffer.read(1):
        sweep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
