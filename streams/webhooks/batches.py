"""A queue that is worked off in batches: whatever is there, as soon as the batch before it is done.

A batch that fails is tried again with half as many items, and each success adds a quarter to them: one item that can
never succeed is found among hundreds, and a batch too big for the database becomes small enough, without staying there.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import structlog

from schemas.errors import MedialaneError
from streams.webhooks.pace import pause

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

MAX_BATCH = 500


class Batches(Generic[Item]):
    """Items in the order in which they came.

    `work` is given the first of them and returns how many of those it has done; `MedialaneError` means that it could
    not now. `hopeless` is told of an item that failed alone for any other reason; it is done with. The first batch
    after a pause waits for `gather_s`, so that what comes together is worked on together; between the beginnings of
    two are at least `spacing_s`.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item]], Awaitable[int]],
        hopeless: Callable[[Item, Exception], None],
        *,
        gather_s: float,
        spacing_s: float = 0.0,
    ) -> None:
        self._name = name
        self._work = work
        self._hopeless = hopeless
        self._gather_s = gather_s
        self._spacing_s = spacing_s
        self._waiting: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        self._stopping = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Item) -> None:
        """Add an item; it is worked on soon."""
        self._waiting.append(item)
        self._idle.clear()
        self._arrived.set()

    def stop(self) -> None:
        """Let `run` return after the batch that it is in."""
        self._stopping = True
        self._arrived.set()

    async def emptied(self) -> None:
        """Wait until every item is done with."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until stopped."""
        loop = asyncio.get_running_loop()
        size, began = MAX_BATCH, 0.0
        while not self._stopping:
            if not self._waiting:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(self._gather_s)
                continue
            await asyncio.sleep(began + self._spacing_s - loop.time())
            began = loop.time()
            batch = list(islice(self._waiting, size))
            done = await self._try(batch)
            for _ in range(done):
                self._waiting.popleft()
            size = min(size + size // 4 + 1, MAX_BATCH) if done else max(1, len(batch) // 2)

    async def _try(self, batch: Sequence[Item]) -> int:
        """How many of the batch, from its first, are done with."""
        try:
            done = await self._work(batch)
        except MedialaneError as error:
            self._failures += 1
            log.warning("a batch waits", of=self._name, waiting=len(self), reason=error.detail)
            await pause(self._failures)
            return 0
        except Exception as error:  # noqa: BLE001 - whoever is to blame is logged alone
            if len(batch) > 1:
                return 0
            self._hopeless(batch[0], error)
            done = 1
        self._failures = 0
        return done
