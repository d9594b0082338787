"""How far a process stands back where the CPU is short.

Linux, sched(7): with autogrouping (most distributions' default outside containers) a nice value weighs a task only
against others of its own session; against other sessions the session's autogroup has a nice value of its own.
"""

import contextlib
import os
import time
from pathlib import Path

_TRIES, _PAUSE_S = 50, 0.02


def stand_back(pid: int, nice: int) -> None:
    """Give a process that leads a session, and all that it starts from now on, at least this nice value (0 to 19).

    Where there is no autogroup, or it is not ours to set, the process's own value has to do.
    """
    now = os.getpriority(os.PRIO_PROCESS, pid)
    if nice <= now:
        return
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):
        _write(Path(f"/proc/{pid}/autogroup"), str(nice))


def _write(autogroup: Path, nice: str) -> None:
    # Of all processes without privilege together, the kernel takes one such write every 100 ms (EAGAIN).
    for tries in range(_TRIES, 0, -1):
        try:
            autogroup.write_text(nice, encoding="ascii")
        except BlockingIOError:
            if tries == 1:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
