"""The worker's end of the nursery: starts it, asks it for children, hears of their deaths."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import structlog

from processors import policy
from processors.contract import Cost, MediaError, Walls
from processors.sandbox import limits, wire, words
from processors.sandbox.cell import Cell
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

log = structlog.get_logger(__name__)

_START_BOUND_S = 60.0
_END_BOUND_S = 10.0
_BIRTH_BOUND_S = 20.0  # it takes milliseconds
_LAST_WORDS_S = 3.0
# All that the children see of the worker's environment; secrets live in the rest.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH", "MAGICK_HOME", "TZ")
_LOST = 9  # the wait status of a child whose nursery vanished: killed


class Child:
    """One child as the worker sees it: a socket, a process id once it is known, and a wait status at the end.

    `unpaid` is, once it is dead, what its last job took.
    """

    def __init__(self, number: int, sock: socket.socket, cell: Cell) -> None:
        self.number = number
        self.cell = cell
        self.pid = 0
        self.jobs = 0
        self.status = 0
        self.unpaid: Cost | None = None
        self._sock = sock
        self._before_s = 0.0  # the CPU time of its life until its present job
        self._gone = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether no death was reported yet."""
        return not self._gone.is_set()

    def died(self, status: int, cpu_s: float | None = None, max_rss_mb: float = 0.0) -> None:
        """Record the death; `status` is a wait status, the rest is of its whole life, as far as anybody knows."""
        self.status = status
        if cpu_s is not None:
            self.unpaid = Cost(cpu_s=max(0.0, cpu_s - self._before_s), max_rss_mb=max_rss_mb)
        self._gone.set()

    def begin(self) -> None:
        """Count from here what its next job takes."""
        self.jobs += 1
        self._before_s = self._life_s() or 0.0

    async def send(self, task: wire.Task) -> None:
        """Hand over a task; the child's death shows when receiving."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, wire.encode(task))
        except (BrokenPipeError, ConnectionResetError):
            return

    async def receive(self) -> wire.FromChild | None:
        """The next message, or None when the child is dead. Raises `MediaError` if it is none."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._sock, wire.MAX_MESSAGE)
        except ConnectionResetError:
            return None
        try:
            return wire.from_child.decode(data) if data else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child talks nonsense ({error}).") from error

    def taken_s(self) -> float | None:
        """The CPU seconds of its present job by the kernel's account, not by its own; None if it is gone."""
        life_s = self._life_s()
        return None if life_s is None else max(0.0, life_s - self._before_s)

    def _life_s(self) -> float | None:
        return limits.cpu_s_of(self.pid) if self.pid else None  # of one just born nothing is known, nor has it begun

    async def wait_gone(self, bound_s: float) -> None:
        """Wait until the death is reported, at most `bound_s` seconds."""
        try:
            async with asyncio.timeout(bound_s):
                await self._gone.wait()
        except TimeoutError:
            raise MediaError(ErrorCode.CHILD_DIED, f"The child did not end within {bound_s:g} s.") from None

    def close(self) -> None:
        """Let go of its socket and, in a thread, of its cell, once it is dead. Idempotent."""
        self._sock.close()
        asyncio.get_running_loop().run_in_executor(None, self.cell.close)


class NurseryHandle:
    """A running nursery. Made blocking (before or inside an event loop); `listen` then binds it to the running loop."""

    def __init__(self, settings: ProcessorSettings, threads: int, folder: Path) -> None:
        """The children's cells are made in `folder`."""
        self._folder = folder
        self._children: dict[int, Child] = {}
        self._next = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._control, theirs = wire.pair()
        stderr, self._words = words.overheard()
        with theirs, open(stderr, "wb"):  # noqa: PTH123 - a descriptor
            # A session of its own: Ctrl-C in a terminal reaches the worker alone, which then drains.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "processors.sandbox.nursery"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(),
                start_new_session=True,
            )
        self.alive = True
        self._control.settimeout(_START_BOUND_S)
        self.walls = self._configure(wire.Configure(settings, threads, str(folder)))
        self._control.setblocking(False)  # noqa: FBT003 - its only parameter

    @property
    def pids(self) -> tuple[int, ...]:
        """The nursery's process id and those of its living children that are known so far."""
        return (self._process.pid, *(child.pid for child in self._children.values() if child.pid))

    def spawn(self) -> Child:
        """Ask for a child; it can be given work at once and takes it when it is there."""
        self._next += 1
        ours, theirs = wire.pair()
        ours.setblocking(False)  # noqa: FBT003 - its only parameter
        child = Child(self._next, ours, Cell(self._folder))
        with theirs:
            try:
                order = wire.Spawn(child.number, str(child.cell.path))
                socket.send_fds(self._control, [wire.encode(order)], [theirs.fileno()])
                self._children[child.number] = child
                self._expect(child)
            except OSError:
                self._lost()
                child.died(_LOST)
        return child

    def kill(self, child: Child) -> None:
        """Have a child and all that it started killed; its death is reported later."""
        try:
            self._control.send(wire.encode(wire.Kill(child.number)))
        except OSError:
            self._lost()

    def listen(self) -> None:
        """Hear of births and deaths in the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._control.fileno(), self._hear)
            for child in self._children.values():
                self._expect(child)
        elif self._loop is not loop:
            raise RuntimeError("a MediaPool belongs to one event loop")

    def _expect(self, child: Child) -> None:
        if self._loop:
            self._loop.call_later(_BIRTH_BOUND_S, self._overdue, child)

    def _overdue(self, child: Child) -> None:
        """Give up a nursery that obeys no more: whoever is given such a child would wait for its whole time."""
        if self.alive and child.alive and not child.pid:
            log.warning("a media nursery tells of no birth and is killed", pid=self._process.pid)
            self._process.kill()
            self._lost()

    async def close(self) -> None:
        """End the nursery and all its children, and wait until they are gone."""
        self._lost()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        try:
            self._process.wait(_END_BOUND_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.join(_LAST_WORDS_S)

    def _configure(self, configure: wire.Configure) -> Walls:
        try:
            self._control.send(wire.encode(configure))
            data = self._control.recv(wire.MAX_MESSAGE)
            message = wire.from_nursery.decode(data) if data else None
        except OSError:  # too slow, or gone before it was told or read what it was told
            message = None
        if isinstance(message, wire.Ready):
            return message.walls
        self._lost()
        self._end()
        raise MediaError(
            ErrorCode.PROCESSING_FAILED,
            f"The media nursery did not start (exit status {self._process.returncode}); the log says why.",
        )

    def _hear(self) -> None:
        while self.alive:
            try:
                data = self._control.recv(wire.MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            match wire.from_nursery.decode(data):
                case wire.Spawned(number, pid) if number in self._children:
                    self._children[number].pid = pid
                case wire.Exited(number, status, cpu_s, max_rss_mb) if number in self._children:
                    self._children.pop(number).died(status, cpu_s, max_rss_mb)
                case _:
                    pass

    def _lost(self) -> None:
        """The nursery is gone or told to go; its children die with it."""
        if not self.alive:
            return
        self.alive = False
        if self._loop:
            self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for child in self._children.values():
            child.died(_LOST)
        self._children.clear()


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed | policy.environment() | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
