"""Ends children with all that they started, in whatever group, session or hands these are.

A child that somebody has taken over may leave its process group, and have itself or others traced: who is traced can be
held back while dying, and then be nobody's to reap but its tracer's. So nothing here waits for a process. All that is
to be dead is killed first, its tracers with it, and reaped when it can be; what is left is met again at the next look.
"""

import contextlib
import os
import resource
import signal
import time
from pathlib import Path
from typing import NamedTuple

_LOOK_EVERY_S = 10.0
_LOOK_SOON_S = 0.01
_SOON_S = 5.0  # for so long after a kill or a death: a large process dies slowly on a busy machine


class Death(NamedTuple):
    """A child is gone, and what it started, as far as that dies: wait status, CPU seconds, peak in MiB, of all."""

    pid: int
    status: int
    cpu_s: float
    max_rss_mb: float


class _Process(NamedTuple):
    pid: int
    parent: int
    group: int
    dead: bool


class _Condemned:
    def __init__(self) -> None:
        self.until = 0.0
        self.status: int | None = None  # once it is reaped
        self.usages: list[resource.struct_rusage] = []

    @property
    def awaited(self) -> bool:
        return time.monotonic() < self.until


class Reaper:
    """Kills and reaps below this process, which has to adopt orphans; all that it has and lets live are `born`."""

    def __init__(self) -> None:
        self._living: set[int] = set()
        self._condemned: dict[int, _Condemned] = {}
        self._met: dict[int, float] = {}  # when each that is to be dead was seen first

    @property
    def hurried(self) -> bool:
        """Whether something is dying that may be dead soon."""
        return any(each.awaited for each in self._condemned.values())

    @property
    def next_look_s(self) -> float:
        """When to look again, seconds from now."""
        return _LOOK_SOON_S if self.hurried else _LOOK_EVERY_S

    def born(self, pid: int) -> None:
        """Let a child live."""
        self._living.add(pid)

    def condemn(self, pid: int) -> None:
        """Have a child, dead or alive, killed with all that it started. To be repeated when it is seen to be dead."""
        if pid in self._living:
            self._living.remove(pid)
            self._condemned[pid] = _Condemned()
            # It is ours and not reaped yet: its number is no other's. It may have left its group, with others in it.
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        if condemned := self._condemned.get(pid):
            condemned.until = time.monotonic() + _SOON_S

    def look(self) -> list[Death]:
        """Kill what is below this process and not below a child that may live, reap what can be, tell whose end it was.

        What a child started becomes ours when it dies, wherever the child has put it.
        """
        doomed, now = self._doomed(), time.monotonic()
        for process in doomed:
            if not process.dead:
                _kill(process)
        for process in doomed:
            if process.parent == os.getpid():
                self._reap(process)
        # What a living child's process traces may withstand for as long as that lives: it is awaited once.
        self._met = {process.pid: self._met.get(process.pid, now) for process in doomed}
        to_come = [process for process in doomed if not process.dead or process.parent != os.getpid()]
        done = all(now - self._met[process.pid] > _SOON_S for process in to_come)
        deaths = []
        for pid, each in list(self._condemned.items()):
            if each.status is not None and (done or not each.awaited):
                del self._condemned[pid]
                peak = max(usage.ru_maxrss for usage in each.usages) / 1024
                cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in each.usages)
                deaths.append(Death(pid, each.status, cpu_s, peak))
        return deaths

    def end_all(self, bound_s: float) -> None:
        """Condemn all children; returns when all below this process is dead, or after `bound_s` seconds."""
        for pid in list(self._living):
            self.condemn(pid)
        end = time.monotonic() + bound_s
        self.look()
        while not all(process.dead for process in self._doomed()) and time.monotonic() < end:
            time.sleep(_LOOK_SOON_S)
            self.look()

    def _doomed(self) -> list[_Process]:
        below: dict[int, list[_Process]] = {}
        for process in _processes():
            below.setdefault(process.parent, []).append(process)
        doomed, front = [], [process for process in below.get(os.getpid(), ()) if process.pid not in self._living]
        while front:
            doomed += front
            front = [each for process in front for each in below.get(process.pid, ())]
        return doomed

    def _reap(self, process: _Process) -> None:
        with contextlib.suppress(ChildProcessError):
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid:
                return
            if own := self._condemned.get(pid):
                own.status = status
            # What an orphan took counts for the child whose group it is in.
            if payer := own or self._condemned.get(process.group):
                payer.usages.append(usage)


def _kill(process: _Process) -> None:
    """Kill it if its number is still its own: below our children others reap, and numbers are given again."""
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(process.pid)
        try:
            now = _process(process.pid)
            if now and now.parent == process.parent:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)


def _processes() -> list[_Process]:
    """All processes of the machine: not every kernel has a list of a process's own."""
    numbers = map(int, filter(str.isdecimal, os.listdir("/proc")))  # noqa: PTH208 - some hundred, often
    return [process for pid in numbers if (process := _process(pid))]


def _process(pid: int) -> _Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, parent, group, *others = stat.rpartition(b")")[2].split()
    threads = int(others[14])  # the first of them may be dead, and the others not
    return _Process(pid, int(parent), int(group), state in {b"Z", b"X"} and threads <= 1)
