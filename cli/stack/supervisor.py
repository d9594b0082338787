"""What owns a stack: brings it up in order, does what the control socket asks, takes it down. Runs in daemon.py."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from cli.stack import control, ports, sockets, state
from cli.stack.control import Answer, Event, Options, Request
from cli.stack.diagnosis import refused
from cli.stack.environment import write_env_file
from cli.stack.errors import StackError
from cli.stack.layout import Layout
from cli.stack.leftovers import watcher
from cli.stack.names import BROKERS, FOUNDATION, STOP_ORDER
from cli.stack.parts import Context, build
from cli.stack.parts.postgres import create_database
from cli.stack.parts.s3 import create_bucket
from cli.stack.processes import identify
from cli.stack.runner import Runner
from cli.stack.state import Secrets, StackState

if TYPE_CHECKING:
    from cli.stack.provision import Provisioner

_CANARY_BOUND_S = 120.0


class Supervisor:
    """One stack's owner, for one run."""

    def __init__(self, files: Layout, options: Options, report: Callable[[Event], None]) -> None:
        self._files = files
        self._options = options
        self._report = report
        self._begun = time.monotonic()
        self._stopping = asyncio.Event()
        self._ensuring = asyncio.Lock()
        self._wanted: set[str] = set()
        self.quick = False
        before = state.load(files.state)
        secrets = before.secrets if before is not None else Secrets.generate()
        self._claims = ports.Claims()
        assigned = ports.assign(
            before.ports if before else {}, options.ports, self._claims, brokers=options.brokers,
            purge=files.command("down --purge"),
        )  # fmt: skip
        initial = StackState(
            secrets=secrets, ports=assigned, boot=state.boot_id(), supervisor=identify(os.getpid())
        )  # fmt: skip
        self._runner = Runner(files, initial)
        self._context = Context(files, assigned, secrets)

    def stop(self, *, quick: bool) -> None:
        """Ask for the end; `quick` kills at once, as when the caller has died."""
        self.quick = self.quick or quick
        self._stopping.set()

    async def run(self) -> int:
        """Up, serve, down. Returns the exit code."""
        self._runner.update()
        write_env_file(self._files, self._context.ports, self._context.secrets)
        server = await control.serve(self._files.control, self._handle)
        failed = False
        with watcher(self._files.state) as orderly:
            try:
                failed = not await self._start_or_stop()
                if not failed:
                    await self._stopping.wait()
            finally:
                server.close()
                await self._down()
                sockets.remove_dead(self._context.ports)
                orderly()
                self._files.control.unlink(missing_ok=True)
        return 1 if failed else 0

    async def _start_or_stop(self) -> bool:
        """Bring everything up, unless told to stop before that; says which by True or False."""
        starting = asyncio.ensure_future(self._begin())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return True
        error = _first_cause(starting.exception())
        if error is None:
            self._runner.update(ready=True)
            self._report(Event(event="ready", seconds=time.monotonic() - self._begun))
            return True
        self._report(Event(event="error", cause=error.cause, cure=error.cure))
        return False

    async def _up(self, wanted: Sequence[str]) -> None:
        """Everything at once, each step as soon as what it needs is there; at the end the canary."""
        wanted = (*wanted, *(ports.broker_names(self._context.ports)[1:] if "kafka" in wanted else ()))
        self._wanted |= set(wanted)
        missing = [name for name in wanted if not self._runner.is_running(name)]
        async with asyncio.TaskGroup() as group:
            started: dict[str, asyncio.Task[None]] = {}

            async def after(*names: str) -> None:
                await asyncio.gather(*(started[name] for name in names if name in started))

            for name in (found for found in FOUNDATION if found in missing):
                started[name] = group.create_task(self._foundation(name, after))
            group.create_task(asyncio.to_thread(self._tools))
            if "postgres" in wanted:
                started["tables"] = group.create_task(self._tables(after))
            if "s3" in wanted:
                started["bucket"] = group.create_task(self._bucket(after))
            if {"kafka", "postgres"} <= self._wanted:
                started["topics"] = group.create_task(self._topics(after))
            if {"connect", "kafka", "postgres"} <= self._wanted:
                started["connector"] = group.create_task(self._connector(after))
            for name in (found for found in missing if found not in FOUNDATION):
                group.create_task(self._process(name, after))
        if "connector" in started:
            await self._step("canary", self._canary)

    def _tools(self) -> "Provisioner":
        # SQLAlchemy, Alembic and aiohttp take a second to import: in a thread, while the parts start.
        from cli.stack.provision import Provisioner  # noqa: PLC0415

        return Provisioner(self._context)

    async def _tables(self, after: Callable[..., Awaitable[None]]) -> None:
        await after("postgres")
        await create_database(self._context)
        await self._step("tables", (await asyncio.to_thread(self._tools)).migrate)

    async def _bucket(self, after: Callable[..., Awaitable[None]]) -> None:
        await after("s3")
        await create_bucket(self._context)

    async def _foundation(self, name: str, after: Callable[..., Awaitable[None]]) -> None:
        if name == "connect" and len(ports.broker_names(self._context.ports)) > 1:
            await after(*BROKERS)  # it makes its topics at its start, with as many copies as there are brokers
        await self._step(name, self._start, name)

    async def _topics(self, after: Callable[..., Awaitable[None]]) -> None:
        await after(*BROKERS, "tables")
        await self._step("topics", self._tools().topics)

    async def _connector(self, after: Callable[..., Awaitable[None]]) -> None:
        await after("connect", "topics")
        await self._step("connector", self._tools().register)

    async def _process(self, name: str, after: Callable[..., Awaitable[None]]) -> None:
        await after("tables", "topics", "bucket")
        await self._step(name, self._start, name)

    async def _canary(self) -> None:
        await self._tools().canary(timeout_s=_CANARY_BOUND_S)

    async def _step(self, name: str, work: Callable[..., Awaitable[None]], *arguments: str) -> None:
        begun = time.monotonic()
        await work(*arguments)
        self._report(Event(event="step", name=name, seconds=time.monotonic() - begun))

    async def _start(self, name: str, env: dict[str, str] | None = None) -> None:
        context = Context(self._files, self._context.ports, self._context.secrets, env or {})
        await self._runner.start(build(name, context))

    async def _down(self) -> None:
        infrastructure = {name for group in STOP_ORDER for name in group}
        own = tuple(name for name in self._runner.running() if name not in infrastructure)
        stop = self._runner.kill if self.quick else self._runner.stop
        for names in (own, *STOP_ORDER):
            await asyncio.gather(*(stop(name) for name in names if self._runner.is_running(name)))
        self._runner.update(ready=False, supervisor=None)

    async def _handle(self, request: Request) -> Answer:
        match request.op:
            case "ensure":
                await self._ensure(request.parts)
            case "start":
                await self._start(request.part, request.env)
            case "stop":
                await self._runner.stop(request.part)
            case "kill":
                await self._runner.kill(request.part, signal.Signals(request.signal))
            case "restart":
                await self._runner.stop(request.part)
                await self._start(request.part, request.env)
            case "ready":
                return Answer(ready=await self._ready())
            case "shutdown":
                self.stop(quick=request.quick)
        return Answer()

    async def _begin(self) -> None:
        async with self._ensuring:
            try:
                await self._up(self._options.parts)
            except BaseException:
                self._stopping.set()  # before anybody who waits for the lock has it
                raise

    async def _ensure(self, names: Sequence[str]) -> None:
        try:
            async with self._ensuring:
                if self._stopping.is_set():
                    raise StackError("the stack is ending", "Try again")
                await self._up(names)
        except BaseExceptionGroup as group:
            raise _first_cause(group) or group from group

    async def _ready(self) -> dict[str, bool]:
        names = self._runner.running()
        answers = await asyncio.gather(*(build(name, self._context).ready() for name in names))
        ready = dict.fromkeys(self._wanted, False) | dict(zip(names, answers, strict=True))
        if "connect" in names:
            ready["connect"] = ready["connect"] and await self._tools().connector_running()
        return ready


def _first_cause(error: BaseException | None) -> StackError | None:
    """The first `StackError` in a group of errors; anything else is a defect and keeps its own words."""
    if error is None or isinstance(error, StackError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := _first_cause(part))), None)
    if isinstance(error, OSError):
        return refused(error)
    return StackError(f"{type(error).__name__}: {error}", "See the log of supervisor")
