"""A lane: what one partition has waiting and running in this process, within bounds.

It outlives assignments: jobs go on under their leases after a revoke, and count against the lane's concurrency if the
partition comes back.
"""

from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from streams.core.queues import Beyond, Item, LaneQueue

T = TypeVar("T")


class Signal(Enum):
    """What the consumer should do about the lane's partition."""

    FULL = "full"  # stop fetching
    ROOM = "room"  # fetch again


class Bounds(NamedTuple):
    """A lane's bounds. `running`: jobs at once; `window`: records fetched and not yet started; `ahead`: offsets between
    the lowest open record and the newest, which a crash would repeat at most.
    """

    running: int
    window: int
    ahead: int

    @classmethod
    def of(cls, *, running: int, window: int) -> "Bounds":
        """The bounds for a window; a lane may run ahead of its head by four windows."""
        return cls(running, window, window * 4)

    @property
    def poll(self) -> int:
        """Records per fetch. Up to two fetches arrive after `FULL`, which comes at half the window."""
        return max(1, self.window // 4)


class Lane(Generic[T]):
    """Waiting items and the number of running ones. Whoever drives it reports `signal` to the consumer."""

    def __init__(self, queue: LaneQueue[T], bounds: Bounds) -> None:
        self._queue = queue
        self._bounds = bounds
        self._running = 0
        self._full = False
        self._stuck = False  # full of what may not start, though others could
        self._paused = False
        self.started = 0  # items taken so far

    @property
    def waiting(self) -> int:
        """Records fetched and not yet started."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Items taken and not yet over: being claimed, or running."""
        return self._running

    @property
    def limit(self) -> int:
        """Most items that run at once."""
        return self._bounds.running

    @property
    def full(self) -> bool:
        """Whether the consumer was last told to stop fetching."""
        return self._full

    @property
    def paused(self) -> bool:
        """Whether what every item here needs is away."""
        return self._paused

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._queue and not self._running

    @property
    def ready(self) -> bool:
        """Whether an item could start now, if there were a slot."""
        return self._queue.ready and self._running < self._bounds.running and not self._paused

    @property
    def turn(self) -> str:
        """Whose item `take` would start; call only when `ready`."""
        return self._queue.turn

    def resize(self, bounds: Bounds) -> None:
        """Other bounds from now on; what waits or runs beyond them is left to end by itself."""
        self._bounds = bounds

    def put(self, item: Item[T]) -> None:
        """Take in a record. It is never refused: what a fetch brought cannot be given back; see `signal`."""
        self._queue.push(item)

    def take(self) -> Item[T]:
        """Start the next item; call only when `ready`."""
        if not self.ready:
            raise RuntimeError("an item was taken from a lane that is empty, busy or paused")
        item = self._queue.pop()
        self._running += 1
        self.started += 1
        return item

    def put_back(self, item: Item[T]) -> None:
        """A taken item could not be started: it is next again."""
        self._running -= 1
        self._queue.put_back(item)

    def finish(self, tenant: str, cost: float = 0.0) -> None:
        """A taken item is over."""
        self._running -= 1
        self._queue.settle(tenant, cost)

    def excess(self, *, newest: int, gap: int, behind: bool) -> list[Beyond[T]]:
        """Take out of a full lane what should go back to its rows, so that it reads on; nothing from any other lane.

        What was passed over until the watermark lags too far, or else, if there are records that the lane has not seen
        (`behind`), what its tenants have beyond their shares of the window. `newest`: the last offset that was read.
        """
        if not self._full:
            return []
        if gap >= self._bounds.ahead:
            return self._queue.older(newest - self._bounds.ahead // 2)
        out = self._queue.beyond_share(self._bounds.window // 4) if behind else []
        # Each tenant keeps a record at least, and all of them may be at their caps: what comes behind them is not.
        self._stuck = behind and not out and not self._queue.ready and self._running < self._bounds.running
        return out

    def pause(self) -> None:
        """Start nothing until `resume`: what every item here needs is away."""
        self._paused = True

    def resume(self) -> None:
        """Start items again."""
        self._paused = False

    def drop(self) -> None:
        """The partition was revoked: forget what waits. Its consumer forgets about `FULL` too."""
        self._queue.clear()
        self._full = False

    def signal(self, gap: int) -> Signal | None:
        """What to tell the consumer, if it changed; `gap` is how far the newest record is ahead of the lowest open one.

        Between the two thresholds nothing changes, so that fetching does not flutter. The exception is a lane in which
        `excess` found nothing that may start or be sent back: it reads on early.
        """
        waiting, bounds = len(self._queue), self._bounds
        stuck, self._stuck = self._stuck, False
        if not self._full and (waiting * 2 >= bounds.window or gap >= bounds.ahead):
            self._full = True
            return Signal.FULL
        has_room = waiting * 4 <= bounds.window and gap * 2 <= bounds.ahead
        if self._full and (has_room or (stuck and gap < bounds.ahead)):
            self._full = False
            return Signal.ROOM
        return None
