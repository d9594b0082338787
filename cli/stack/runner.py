"""Runs parts: starts them, notices their end, stops them within bounds, and keeps the state file true."""

import asyncio
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

import msgspec

from cli.stack import state
from cli.stack.diagnosis import diagnose
from cli.stack.errors import StackError
from cli.stack.layout import Layout
from cli.stack.parts import Part
from cli.stack.ports import require_free
from cli.stack.processes import identify, interrupt, kill_group, spawn
from cli.stack.state import PartState, ProcessId, StackState

_PROBE_S = 0.05
_LOG_TAIL_BYTES = 16_384


@dataclass
class Running:
    """A part that was started. `ended` is set once it is gone, `exit_code` then says how."""

    part: Part
    popen: subprocess.Popen[bytes]
    process: ProcessId
    log_from: int
    started_at: float = field(default_factory=time.time)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def exit_code(self) -> int | None:
        return self.popen.returncode


class Runner:
    """Owns the processes of one stack. Only for the main thread's event loop (see `spawn`)."""

    def __init__(self, layout: Layout, initial: StackState) -> None:
        self._layout = layout
        self._running: dict[str, Running] = {}
        self.state = initial

    def update(self, **changes: object) -> None:
        """Change the state and write it."""
        self.state = msgspec.structs.replace(self.state, **changes)
        state.save(self._layout.state, self.state)

    def is_running(self, name: str) -> bool:
        """Whether the part was started and has not ended."""
        return name in self._running and not self._running[name].ended.is_set()

    def running(self) -> list[str]:
        """The parts that run now."""
        return [name for name in self._running if self.is_running(name)]

    async def start(self, part: Part) -> None:
        """Start a part and wait until it is ready. Raises `StackError`, with the part stopped again."""
        self._require_stopped(part.name)
        for port in part.listens:
            require_free(part.name, port)
        await part.prepare()
        self._require_stopped(part.name)  # somebody else's start may have been at it meanwhile
        running = self._spawn(part)
        try:
            await self._until_ready(running)
        except BaseException:
            if not running.ended.is_set():
                await self.kill(part.name)
            raise

    async def stop(self, name: str) -> None:
        """Ask a part to stop; kill its group when it has not within its bound. No error if it does not run."""
        running = self._running.get(name)
        if running is None:
            return
        if interrupt(running.process, running.part.stop_signal):
            try:
                async with asyncio.timeout(running.part.stop_bound_s):
                    await running.ended.wait()
            except TimeoutError:
                pass
        await self.kill(name)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a part's whole group; after SIGKILL, wait for its end."""
        running = self._running.get(name)
        if running is None:
            raise StackError(f"{name} does not run")
        # Also when the leader is gone: what it started may still be there.
        kill_group(running.process.pid, running.process.started, number)
        if number == signal.SIGKILL:
            await running.ended.wait()

    def _require_stopped(self, name: str) -> None:
        if self.is_running(name):
            raise StackError(f"{name} already runs")

    def _spawn(self, part: Part) -> Running:
        log = self._layout.log(part.name)
        log_from = log.stat().st_size if log.exists() else 0
        popen = spawn(part.command, log)
        process = identify(popen.pid)
        if process is None:
            raise StackError(f"{part.name} was gone before it could be seen", f"Its log: {log}")
        running = Running(part, popen, process, log_from)
        self._running[part.name] = running
        self._record(running)
        # A descriptor that becomes readable at the process's end: no thread, no polling, no signal handler.
        descriptor = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(descriptor, self._ended, running, descriptor)
        return running

    def _ended(self, running: Running, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        running.popen.wait()
        running.ended.set()
        if self._running.get(running.part.name) is running:
            self._record(running)

    def _record(self, running: Running) -> None:
        ended = running.ended.is_set()
        known = PartState(
            address=running.part.address,
            process=None if ended else running.process,
            started_at=running.started_at,
            exit_code=running.exit_code,
        )
        self.update(parts={**self.state.parts, running.part.name: known})

    async def _until_ready(self, running: Running) -> None:
        part = running.part
        deadline = time.monotonic() + part.start_bound_s
        while not await part.ready():
            late = time.monotonic() > deadline
            if running.ended.is_set() or late:
                raise diagnose(
                    part.name,
                    self._tail(running),
                    exit_code=None if late and not running.ended.is_set() else running.exit_code,
                    log_path=self._layout.log(part.name),
                )
            await asyncio.sleep(_PROBE_S)

    def _tail(self, running: Running) -> str:
        with self._layout.log(running.part.name).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(running.log_from, end - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
