"""The nursery: one small process, without secrets and without network, that forks the children that touch media.

It imports the media libraries once (through `child`), so that a child is warm when it is born. It is started by exec,
not forked from the worker, so no thread, lock, descriptor or variable of the worker's is in it. When the worker's
socket closes, for whatever reason, it kills every child with all that it started and ends; should it be killed itself,
the children die with it through PDEATHSIG.
"""

import contextlib
import gc
import os
import resource
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import assert_never

from processors.contract import Walls
from processors.sandbox import landlock, limits, wire
from processors.sandbox.child import PROGRAMS, serve
from processors.sandbox.priority import stand_back
from processors.sandbox.privileges import drop_capabilities

_LOOK_EVERY_S = 10.0
_ROUNDS = 100


class Nursery:
    """Forks, kills and reaps children on request."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._pids: dict[int, int] = {}

    def run(self) -> None:
        """Serve until the worker's end closes."""
        configure = wire.to_nursery.decode(self._control.recv(wire.MAX_MESSAGE))
        if not isinstance(configure, wire.Configure):
            raise TypeError(f"the first message must configure, got {configure!r}")
        network = limits.leave_network()
        limits.drop_privilege_gains()
        limits.adopt_orphans()
        stand_back(os.getpid(), configure.settings.nice)
        needed = [*landlock.of_python(), *landlock.homes_of(PROGRAMS), Path(configure.folder)]
        privileges = drop_capabilities(needed)  # last: what is above may need one
        walls = Walls(network, landlock.version() > 0, landlock.keeps_signals(), privileges)
        gc.freeze()  # the children share these pages: let no collection of theirs touch them
        self._selector.register(self._control, selectors.EVENT_READ)
        self._tell(wire.Ready(walls))
        try:
            while True:
                events = self._selector.select(_LOOK_EVERY_S)
                if not events:
                    self._end_strays()
                for key, _ in events:
                    if key.fileobj is self._control:
                        if not self._obey(configure):
                            return
                    else:
                        self._bury(key.data)
        finally:
            for child in list(self._pids):
                self._kill(child)
                self._reap(child)
            while not self._end_strays():  # the worker kills us should that take too long
                pass

    def _obey(self, configure: wire.Configure) -> bool:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, wire.MAX_MESSAGE, 1)
        except ConnectionResetError:  # closed with something unread: closed all the same
            return False
        if not message:
            return False
        order = wire.to_nursery.decode(message)
        match order:
            case wire.Spawn(child, cell):
                self._spawn(child, socket.socket(fileno=fds[0]), Path(cell), configure)
            case wire.Kill(child):
                self._kill(child)
            case wire.Configure():
                raise TypeError("configured twice")
            case _ as unreachable:
                assert_never(unreachable)
        return True

    def _spawn(self, child: int, sock: socket.socket, cell: Path, configure: wire.Configure) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _live(sock, parent, cell, configure)
        sock.close()
        with contextlib.suppress(OSError):  # both sides set it, whoever comes first
            os.setpgid(pid, pid)
        self._pids[child] = pid
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, child)
        self._tell(wire.Spawned(child, pid))

    def _kill(self, child: int) -> None:
        # The child is ours and not reaped yet, so its number cannot have been given to another process.
        if (pid := self._pids.get(child)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _bury(self, child: int) -> None:
        self._kill(child)  # what it started must not outlive it
        key = next(key for key in self._selector.get_map().values() if key.data == child and key.fd >= 0)
        self._selector.unregister(key.fileobj)
        os.close(key.fd)
        exited = self._reap(child)
        self._end_strays()
        self._tell(exited)

    def _reap(self, child: int) -> wire.Exited:
        pid = self._pids.pop(child)
        _, status, usage = os.wait4(pid, 0)
        usages = [usage]
        with contextlib.suppress(ChildProcessError):  # adopted orphans of its group, killed just now
            while True:
                usages.append(os.wait4(-pid, 0)[2])
        return wire.Exited(child, status, sum(map(_cpu_s, usages)), max(each.ru_maxrss for each in usages) / 1024)

    def _end_strays(self) -> bool:
        """Kill what a child started and put out of its group: its own parent is dead, so it is ours now, and no child.

        False if more came up all the time.
        """
        for _ in range(_ROUNDS):
            strays = _own_children() - set(self._pids.values())
            if not strays:
                return True
            for pid in strays:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so its number cannot be another's
            for pid in strays:
                os.waitpid(pid, 0)  # what it started in turn is ours from here on
        return False

    def _tell(self, message: wire.FromNursery) -> None:
        with contextlib.suppress(BrokenPipeError):  # the worker is gone; the next read says so
            self._control.send(wire.encode(message))


def _own_children() -> set[int]:
    """The processes whose parent this one is. Not every kernel has a list of them."""
    own, found = str(os.getpid()).encode(), set()
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - some hundred, often
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_bytes()
            if stat.rpartition(b")")[2].split()[1] == own:
                found.add(int(name))
    return found


def _cpu_s(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _live(sock: socket.socket, parent: int, cell: Path, configure: wire.Configure) -> None:
    """The forked child's whole life; never returns into the nursery's code."""
    status = limits.DEFECT
    try:
        os.setpgid(0, 0)
        limits.die_with_parent(parent)
        fd = sock.fileno()
        os.closerange(3, fd)
        os.closerange(fd + 1, 65_536)
        _speak_alone()
        limits.apply_lifetime_limits(configure.settings, configure.threads)
        serve(sock, cell, configure.settings, configure.threads)
        status = 0
    except BaseException as error:  # noqa: BLE001 - it must end here, whatever it was
        sys.stderr.write(f"media child {os.getpid()}: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)


def _speak_alone() -> None:
    """Give this process a standard error of its own to the same pipe, where it neither waits nor makes others wait.

    Whether writing waits belongs to what was opened, which all who inherited it share.
    """
    own = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.dup2(own, 2)
    os.close(own)


def main() -> None:
    """Entry point of the nursery process; the control socket is its standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.umask(0o077)
    Nursery(control).run()


if __name__ == "__main__":
    main()
