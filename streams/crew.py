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

_GIVE_BACK_BOUND_S, _LEAST_GIVE_BACK_S = 8.0, 1.0
_OUTCOMES = _FINISHED, _RETURNED, _ABANDONED = "finished", "returned", "abandoned"


class Handler(Protocol[P_contra, W]):
    """What is done with a record."""

    async def claim(self, payload: P_contra) -> W | None:
        """Make the record's outcome durable; returns the work that follows from it, None if none does.

        Raises `MedialaneError` if what it needs is away: the record is offered again.
        """

    async def run(self, work: W) -> float:
        """Do the work and return its cost in CPU seconds; never raises.

        Cancelled: give the work back, and only then let the cancellation out, or raise `NotReturnedError`.
        """


class Callbacks(NamedTuple):
    """What a task tells: either `failed`, and nothing more; or `claimed`, and in the end `over` with the cost."""

    claimed: Callable[[], None]
    failed: Callable[[Exception], None]
    over: Callable[[float], None]


class NotReturnedError(Exception):
    """A job that was cancelled could not be given back: its lease will expire, and others take it then."""


class Drained(NamedTuple, Generic[W]):
    """How a drain ended, job by job: ended by themselves, given back, or neither in time (their leases will expire)."""

    finished: tuple[W, ...]
    returned: tuple[W, ...]
    abandoned: tuple[W, ...]


class Crew(Generic[P, W]):
    """Runs claims and the work that follows, one task each. One event loop only."""

    def __init__(self, handler: Handler[P, W]) -> None:
        self._handler = handler
        self._defect: BaseException | None = None
        self._broken = asyncio.Event()
        self._claiming: set[asyncio.Task[None]] = set()
        self._working: dict[asyncio.Task[None], W] = {}
        self._runs: set[asyncio.Task[float]] = set()
        self._outcomes: list[tuple[W, str]] | None = None  # of jobs that end while this drains
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

    async def watch(self) -> None:
        """Raise what a callback raised, if one ever does."""
        await self._broken.wait()
        if self._defect is not None:
            raise self._defect

    async def claims_done(self, timeout_s: float) -> None:
        """Wait until no claim is under way; raises `TimeoutError` if that takes longer."""
        await asyncio.wait_for(self._calm.wait(), timeout_s)

    async def drain(self, timeout_s: float) -> Drained[W]:
        """Wait for everything to end, then have the rest given back, both within `timeout_s`. Start nothing after this.

        Giving back has the last 8 s of it, or its half if that is less, and a second at least.
        """
        outcomes = self._outcomes = []
        before = self._claiming | self._working.keys()
        patience_s = max(timeout_s - _GIVE_BACK_BOUND_S, timeout_s / 2)
        late = (await asyncio.wait(before, timeout=patience_s))[1] if before else set()
        self._recalled = True
        for run in self._runs:
            run.cancel()
        if late:
            await asyncio.wait(late, timeout=max(timeout_s - patience_s, _LEAST_GIVE_BACK_S))
        outcomes += [(work, _ABANDONED) for work in self._working.values()]
        ended = {which: tuple(work for work, outcome in outcomes if outcome == which) for which in _OUTCOMES}
        return Drained(ended[_FINISHED], ended[_RETURNED], ended[_ABANDONED])

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
                self._working[_current()] = work
                self._claim_ended(_current())
                cost = await self._work(work)
        finally:
            callbacks.over(cost)

    async def _work(self, work: W) -> float:
        run = asyncio.ensure_future(self._handler.run(work))
        # A task that is cancelled before its first step never gets to give its work back.
        await asyncio.sleep(0)
        self._runs.add(run)
        if self._recalled:
            run.cancel()
        await asyncio.wait({run})
        self._runs.discard(run)
        outcome, cost = _FINISHED, 0.0
        if run.cancelled():
            outcome = _RETURNED
        elif isinstance(run.exception(), NotReturnedError):
            outcome = _ABANDONED
        elif (defect := run.exception()) is not None:
            log.error("the handler raised, which it must not", exc_info=defect)
        else:
            cost = run.result()
        if self._outcomes is not None:
            self._outcomes.append((work, outcome))
        return cost

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.pop(task, None)
        self._claim_ended(task)
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._defect = self._defect or defect
            self._broken.set()

    def _claim_ended(self, task: asyncio.Task[None]) -> None:
        self._claiming.discard(task)
        if not self._claiming:
            self._calm.set()


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("outside every task")
    return task
