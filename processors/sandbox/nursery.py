"""The nursery: one small process, without secrets and without network, that forks the children that touch media.

It imports the media libraries once (through `child`), so that a child is warm when it is born. It is started by exec,
not forked from the worker, so no thread, lock, descriptor or variable of the worker's is in it. When the worker's
socket closes, for whatever reason, it kills every child with all that it started and ends; should it be killed itself,
the children die with it through PDEATHSIG.
"""

import contextlib
import gc
import os
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
from processors.sandbox.reaper import Reaper

_END_BOUND_S = 5.0  # the worker kills us after ten


class Nursery:
    """Forks, kills and reaps children on request."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._reaper = Reaper()
        self._pids: dict[int, int] = {}
        self._watched: dict[int, int] = {}  # a child's process id, and the descriptor that tells of its death

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
                events = self._selector.select(self._reaper.next_look_s)
                for key, _ in events:
                    if key.fileobj is not self._control:
                        self._unwatch(key.data)
                        self._reaper.condemn(key.data)  # what it started must not outlive it
                    elif not self._obey(configure):
                        return
                if self._reaper.hurried or not events:
                    self._bury()
        finally:
            self._reaper.end_all(_END_BOUND_S)

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
                if (pid := self._pids.get(child)) is not None:
                    self._reaper.condemn(pid)
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
        self._reaper.born(pid)
        self._watched[pid] = os.pidfd_open(pid)
        self._selector.register(self._watched[pid], selectors.EVENT_READ, pid)
        self._tell(wire.Spawned(child, pid))

    def _unwatch(self, pid: int) -> None:
        if (fd := self._watched.pop(pid, None)) is not None:
            self._selector.unregister(fd)
            os.close(fd)

    def _bury(self) -> None:
        children = {pid: child for child, pid in self._pids.items()}
        for pid, status, cpu_s, max_rss_mb in self._reaper.look():
            self._unwatch(pid)
            child = children[pid]
            del self._pids[child]
            self._tell(wire.Exited(child, status, cpu_s, max_rss_mb))

    def _tell(self, message: wire.FromNursery) -> None:
        with contextlib.suppress(BrokenPipeError):  # the worker is gone; the next read says so
            self._control.send(wire.encode(message))


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
