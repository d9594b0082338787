"""`Stack`: start a stack, or attach to one, from Python. What commands, tests, the demo and the benchmark use."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from cli.stack import control, state
from cli.stack.checks import check_owner
from cli.stack.control import Event, Options, Request
from cli.stack.environment import process_variables, variables
from cli.stack.errors import StackError
from cli.stack.layout import Layout, layout
from cli.stack.leftovers import sweep_leftovers, take_lock
from cli.stack.names import ALL
from cli.stack.processes import alive, interrupt
from cli.stack.state import ProcessId, StackState
from cli.stack.view import PartView, view_parts

_STOP_BOUND_S = 75.0


class Stack:
    """A handle on a stack: from `start`, a context manager that stops it at its end; from `attach`, it does not."""

    def __init__(self, files: Layout, supervisor: subprocess.Popen[bytes] | None = None) -> None:
        self._files = files
        self._supervisor = supervisor

    @classmethod
    def start(
        cls,
        folder: Path | None = None,
        *,
        parts: Sequence[str] = ALL,
        ports: Mapping[str, int] | None = None,
        brokers: int | None = None,
        owner: int | None = None,
        progress: Callable[[Event], None] = lambda _event: None,
    ) -> "Stack":
        """Start a stack that dies with this process, and wait until it is ready. Raises `StackError`.

        After `detach` it lives on, but not longer than the process `owner`, if one is given. `brokers`: 1, or 3 for a
        cluster (three copies of everything, two must be in sync); None keeps what the folder's stack has.
        """
        files = layout(folder)
        options = Options(parts=tuple(parts), ports=dict(ports or {}), brokers=brokers, owner=owner)
        with _made(files) as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.stack.daemon", str(files.folder), msgspec.json.encode(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        stack = cls(files, supervisor)
        try:
            stack._await_ready(progress)
        except BaseException:
            # Not `stop`: if the folder's stack is somebody else's, that one must go on.
            stack._let_go(supervisor)
            raise
        return stack

    @classmethod
    def attach(cls, folder: Path | None = None) -> "Stack":
        """A handle on a stack that runs. Raises `StackError` if none does."""
        stack = cls(layout(folder))
        if not stack.is_running:
            raise StackError(f"no stack runs in {stack.folder}", f"Start one: {stack.command('up')}")
        return stack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._supervisor is not None:
            self.stop()

    @property
    def folder(self) -> Path:
        """The stack's folder."""
        return self._files.folder

    def command(self, words: str) -> str:
        """What to type to do something with it."""
        return self._files.command(words)

    @property
    def state(self) -> StackState:
        """The state file as it is now. Raises `StackError` if this folder never held a stack."""
        found = state.load(self._files.state)
        if found is None:
            raise StackError(f"no stack was ever started in {self.folder}", f"Start one: {self.command('up')}")
        return found

    @property
    def is_running(self) -> bool:
        """Whether its supervisor lives."""
        return self._living_supervisor() is not None

    @property
    def env(self) -> dict[str, str]:
        """Every `MEDIALANE_*` variable of this stack (the database under the worker role)."""
        now = self.state
        return variables(now.ports, now.secrets, self._files)

    def process_env(self, name: str) -> dict[str, str]:
        """The variables that one of Medialane's processes gets (for api: the database under the app role)."""
        now = self.state
        return process_variables(name, now.ports, now.secrets, self._files)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each part listens."""
        return {name: part.address for name, part in self.state.parts.items()}

    def log(self, name: str) -> Path:
        """A part's log file."""
        return self._files.log(name)

    def pid(self, name: str) -> int:
        """The process id of a running part. Raises `StackError` if it does not run."""
        part = self.state.parts.get(name)
        if part is None or part.process is None or not alive(part.process.pid, part.process.started):
            raise StackError(f"{name} does not run")
        return part.process.pid

    def ensure(self, parts: Sequence[str]) -> None:
        """Start those of these parts that do not run, and wait until the whole stack is ready."""
        self._call(Request(op="ensure", parts=tuple(parts)))

    def start_part(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start a part and wait until it is ready; `env` goes on top of its variables.

        `media-images@2` is a second worker of that kind.
        """
        self._call(Request(op="start", part=name, env=dict(env or {})))

    def stop_part(self, name: str) -> None:
        """Stop a part in good order (SIGTERM, then SIGKILL after its bound) and wait for its end."""
        self._call(Request(op="stop", part=name))

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a part's whole process group. After SIGKILL, returns when it is gone; nothing restarts it."""
        self._call(Request(op="kill", part=name, signal=int(number)))

    def restart(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Stop a part in good order if it runs, start it, and wait until it is ready."""
        self._call(Request(op="restart", part=name, env=dict(env or {})))

    def status(self) -> list[PartView]:
        """Every part as it is now, each asked whether it is ready."""
        ready = self._call(Request(op="ready")).ready if self.is_running else {}
        return view_parts(self._files, self.state, ready)

    def detach(self) -> None:
        """Let the stack live on without this process."""
        if self._supervisor is not None and self._supervisor.stdin is not None:
            self._supervisor.stdin.write(b"d")
            self._supervisor.stdin.close()
            self._supervisor = None

    def wait(self) -> None:
        """Wait until the stack ends by itself: somebody took it down, or its supervisor was killed."""
        if self._supervisor is not None:
            self._supervisor.wait()

    def stop(self, *, quick: bool = False) -> list[str]:
        """Stop everything and wait; also what a killed supervisor left. Returns the leftovers that had to be killed.

        `quick` kills at once: for a stack whose data nobody needs.
        """
        try:
            self._call(Request(op="shutdown", quick=quick))
        except StackError:
            self._terminate()  # no answer on its socket: still starting, or stuck
        if self._supervisor is not None:
            self._let_go(self._supervisor)
            self._supervisor = None
        else:
            self._wait_gone()
        try:
            with take_lock(self._files):
                return sweep_leftovers(self._files)
        except StackError:
            return []  # somebody has started it anew meanwhile

    def _let_go(self, supervisor: subprocess.Popen[bytes]) -> None:
        """End our supervisor, with all that it started."""
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(_STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        for pipe in (supervisor.stdin, supervisor.stdout):
            if pipe is not None:
                pipe.close()

    def _terminate(self) -> None:
        if (supervisor := self._living_supervisor()) is not None:
            interrupt(supervisor, signal.SIGTERM)

    def _wait_gone(self) -> None:
        supervisor, deadline = self._living_supervisor(), time.monotonic() + _STOP_BOUND_S
        while supervisor is not None and alive(supervisor.pid, supervisor.started):
            if time.monotonic() > deadline:
                interrupt(supervisor, signal.SIGKILL)
            time.sleep(0.05)

    def _living_supervisor(self) -> ProcessId | None:
        found = state.load(self._files.state)
        if found is None or found.supervisor is None or found.boot != state.boot_id():
            return None
        return found.supervisor if alive(found.supervisor.pid, found.supervisor.started) else None

    def _await_ready(self, progress: Callable[[Event], None]) -> None:
        if self._supervisor is None or self._supervisor.stdout is None:
            raise StackError("there is no supervisor to wait for")
        for line in self._supervisor.stdout:
            event = msgspec.json.decode(line, type=Event)
            if event.event == "error":
                raise StackError(event.cause, event.cure)
            progress(event)
            if event.event == "ready":
                return
        raise StackError(
            f"the supervisor ended (exit {self._supervisor.wait()})", f"Its log: {self._files.log('supervisor')}"
        )

    def _call(self, request: Request) -> control.Answer:
        return control.call(self._files.control, request)


def _made(files: Layout) -> BinaryIO:
    """Make a stack's folders, and open its supervisor's log."""
    check_owner(files.folder)
    try:
        files.make()
        return files.log("supervisor").open("ab")
    except OSError as error:
        raise StackError(f"{error.filename} cannot be made: {error.strerror}", "Choose a folder with --dir") from error
