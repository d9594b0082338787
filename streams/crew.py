"""The tasks that handle records: each claims one, then does the work that follows from it, and can give it back.

A claim is never cancelled in the middle (its outcome would be unknown); work is, at the end of a drain.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import structlog

P = TypeVar("P")
W = TypeVar("W")
P_contra = TypeVar("P_contra", contravariant=True)

log = structlog.get_logger(__name__)

_GIVE_BACK_BOUND_S = 8.0


class Handler(Protocol[P_contra, W]):
    """What is done with a record."""

    async def claim(self, payload: P_contra) -> W | None:
        """Make the record's outcome durable; returns the work that follows from it, None if none does.

        Raises `MedialaneError` if what it needs is away: the record is offered again.
        """

    async def run(self, work: W) -> float:
        """Do the work and return its cost in CPU seconds; never raises. Cancelled: give the work back."""


class Callbacks(NamedTuple):
    """What a task tells: first `claimed` or `failed`, in the end `over` with the cost."""

    claimed: Callable[[], None]
    failed: Callable[[Exception], None]
    over: Callable[[float], None]


class Drained(NamedTuple):
    """How a drain ended: jobs that finished by themselves, were given back, and did not answer in time."""

    finished: int
    returned: int
    abandoned: int


class Crew(Generic[P, W]):
    """Runs claims and the work that follows, one task each. One event loop only."""

    def __init__(self, handler: Handler[P, W]) -> None:
        self._handler = handler
        self._claiming: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[None]] = set()
        self._runs: set[asyncio.Task[float]] = set()
        self._recalled = False
        self._calm = asyncio.Event()
        self._calm.set()

    def start(self, payload: P, callbacks: Callbacks) -> None:
        """Handle a record from now on."""
        task = asyncio.create_task(self._handle(payload, callbacks))
        self._claiming.add(task)
        self._calm.clear()
        task.add_done_callback(self._ended)

    @property
    def claiming(self) -> int:
        """How many claims are under way."""
        return len(self._claiming)

    @property
    def working(self) -> int:
        """How many jobs run."""
        return len(self._working)

    async def claims_done(self, timeout_s: float) -> None:
        """Wait until no claim is under way; raises `TimeoutError` if that takes longer."""
        await asyncio.wait_for(self._calm.wait(), timeout_s)

    async def drain(self, timeout_s: float) -> Drained:
        """Wait for everything to end, up to `timeout_s`; then have the rest given back. Start nothing after this."""
        before = self._claiming | self._working
        late = (await asyncio.wait(before, timeout=timeout_s))[1] if before else set()
        self._recalled = True
        for run in self._runs:
            run.cancel()
        abandoned = (await asyncio.wait(late, timeout=_GIVE_BACK_BOUND_S))[1] if late else set()
        return Drained(len(before) - len(late), len(late) - len(abandoned), len(abandoned))

    async def _handle(self, payload: P, callbacks: Callbacks) -> None:
        try:
            work = await self._handler.claim(payload)
        except Exception as error:  # noqa: BLE001 - the callback tells an outage from a defect
            callbacks.failed(error)
            return
        callbacks.claimed()
        cost = 0.0
        try:
            if work is not None:
                self._working.add(_current())
                self._claim_ended(_current())
                cost = await self._work(work)
        finally:
            callbacks.over(cost)

    async def _work(self, work: W) -> float:
        run = asyncio.create_task(self._run(work))
        # A task that is cancelled before its first step never gets to give its work back.
        await asyncio.sleep(0)
        self._runs.add(run)
        if self._recalled:
            run.cancel()
        await asyncio.wait({run})
        self._runs.discard(run)
        return 0.0 if run.cancelled() else run.result()

    async def _run(self, work: W) -> float:
        try:
            return await self._handler.run(work)
        except Exception:
            log.exception("the handler raised, which it must not")
            return 0.0

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._claim_ended(task)

    def _claim_ended(self, task: asyncio.Task[None]) -> None:
        self._claiming.discard(task)
        if not self._claiming:
            self._calm.set()


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("outside every task")
    return task
