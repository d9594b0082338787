"""Media workers whose leases and memberships end within seconds, and jobs that last until the test lets them go on.

So that an ordinary job outlives several leases, sessions and rebalances in a test of half a minute.
"""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from cli.bench.processes import descendants
from cli.harness.rows import JobRow
from cli.stack import Stack
from cli.stack.processes import alive, identify
from cli.stack.state import ProcessId
from support import e2e
from support.ports import free_port

FIRST, SECOND = "media-images", "media-images@2"
LEASE_S, SESSION_S = 3.0, 3.0
WORKER = {
    "MEDIALANE_WORKER_LEASE_S": str(LEASE_S),
    "MEDIALANE_WORKER_HEARTBEAT_S": "0.5",
    "MEDIALANE_WORKER_SESSION_TIMEOUT_S": str(SESSION_S),
    "MEDIALANE_WORKER_REBALANCE_TIMEOUT_S": str(SESSION_S),
    "MEDIALANE_WORKER_SLOTS": "2",
    "MEDIALANE_SHUTDOWN_DRAIN_TIMEOUT": "0.5",
    "MEDIALANE_PROCESSOR_IMAGE_TIMEOUT_S": "600",
    "MEDIALANE_PROCESSOR_AROUND": "hold:around",
    "PYTHONPATH": str(Path(__file__).parents[1] / "e2e" / "children"),
}
# Patient after an outage, longer than any lease: live workers renew first, also on a slow machine.
KEEPER = {"MEDIALANE_KEEPER_INTERVAL_S": "0.5", "MEDIALANE_KEEPER_LEASE_S": "10"}


class Crew:
    """The image workers of a stack, two at most, started and stopped by name; all calls may take seconds."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._ports = {FIRST: stack.state.ports[FIRST], SECOND: free_port()}

    async def start(self, name: str) -> None:
        """Start a worker and wait until it has its partitions."""
        port = {"MEDIALANE_TELEMETRY_METRICS_PORT": str(self._ports[name])}
        await asyncio.to_thread(self.stack.start_part, name, WORKER | port)

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait for the worker's end."""
        await asyncio.to_thread(self.stack.stop_part, name)

    async def both(self) -> None:
        """Have both workers run."""
        with contextlib.suppress(LookupError):
            self.name_of(self.pid(SECOND))
            return
        await self.start(SECOND)

    def pid(self, name: str) -> int:
        """A worker's process id. Raises `LookupError` if it does not run."""
        part = self.stack.state.parts.get(name)
        if part is None or part.process is None:
            raise LookupError(f"{name} does not run")
        return part.process.pid

    def name_of(self, pid: int) -> str:
        """The worker with this process id. Raises `LookupError`."""
        for name in (FIRST, SECOND):
            with contextlib.suppress(LookupError):
                if self.pid(name) == pid:
                    return name
        raise LookupError(f"no worker has process id {pid}")

    def holder(self, job: JobRow) -> str:
        """The worker that a running job belongs to. Raises `LookupError`, also for a worker that is gone."""
        return self.name_of(int((job.owner or "//").split("/")[1] or 0))

    def family(self, name: str) -> list[ProcessId]:
        """A worker and everything that it has started."""
        pid = self.pid(name)
        return [found for one in (pid, *descendants(pid)) if (found := identify(one)) is not None]

    async def figures(self, name: str) -> Mapping[str, float]:
        """What a worker shows on /metrics, by sample: name, with labels."""
        lines = (await asyncio.to_thread(self._get, name, "/metrics")).splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {sample: float(value) for sample, _, value in samples}

    async def is_ready(self, name: str) -> bool:
        """Whether a worker says on /readyz that it takes jobs."""
        try:
            await asyncio.to_thread(self._get, name, "/readyz")
        except (URLError, TimeoutError):
            return False
        return True

    def _get(self, name: str, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self._ports[name]}{path}", timeout=10) as answer:
            return answer.read().decode()


class Held:
    """A photo whose job waits in its child, run after run, until the test lets that run go on."""

    def __init__(self, folder: Path, photo: bytes) -> None:
        """`folder` is this photo's own, exists, and has a path short enough for a socket."""
        address = folder / "held"
        self.content = photo + f"medialane hold={address};".encode()
        self._runs: list[tuple[int, socket.socket]] = []
        self._free: set[int] = set()
        self._lock = threading.Lock()
        self._over = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            line, _ = self._listener.accept()
            pid = int(line.recv(32) or 0)
            with self._lock:
                self._runs.append((pid, line))
                if self._over or len(self._runs) in self._free:
                    _answer(line)

    @property
    def runs(self) -> int:
        """How many times a child has begun this job."""
        return len(self._runs)

    async def run(self, number: int) -> int:
        """Wait until a child has begun the job for the `number`th time, from 1; returns the child's process id."""

        async def begun() -> bool:
            return self.runs >= number

        await e2e.eventually(begun, f"run {number} of the job begins")
        return self._runs[number - 1][0]

    def let_go(self, number: int) -> None:
        """Let the run go on, be it begun or still to come."""
        with self._lock:
            self._free.add(number)
            if len(self._runs) >= number:
                _answer(self._runs[number - 1][1])

    def end(self) -> None:
        """Let every run go on: a test that is over, or has failed, holds up none that follow."""
        with self._lock:
            self._over = True
            for _, line in self._runs:
                _answer(line)


def _answer(line: socket.socket) -> None:
    with contextlib.suppress(BrokenPipeError):  # its child is dead
        line.sendall(b".")


@contextlib.contextmanager
def hurried(stack: Stack) -> Iterator[Crew]:
    """A stack's image workers in a hurry; with settings as before afterwards. Nobody else may use it meanwhile."""
    crew = Crew(stack)
    stack.restart("keeper", KEEPER)
    stack.stop_part(FIRST)
    asyncio.run(crew.start(FIRST))
    try:
        yield crew
    finally:
        stack.stop_part(SECOND)
        for name in ("postgres", "s3"):
            stack.ensure((name,))
        stack.restart("keeper")
        stack.restart(FIRST)


def running(processes: list[ProcessId]) -> list[int]:
    """Those of them that still are there."""
    return [one.pid for one in processes if alive(one.pid, one.started)]


def signal_all(processes: list[ProcessId], number: signal.Signals) -> None:
    """Signal those of them that still are there."""
    for pid in running(processes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
