"""How many calls to the store may run at once, and how long one waits for its turn.

An owner, if a call has one, gets half of the places at most: its further calls wait, and others' do not wait for them.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from connectors.shares import Shares
from schemas.errors import ErrorCode, MedialaneError

_AGAIN_S = 1.0


class Places:
    """A bounded number of places, for one event loop."""

    def __init__(self, count: int, *, wait_s: float) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count)
        self._shares = Shares(max(1, count // 2))
        self._wait_s = wait_s

    async def take(self, owner: Hashable, *, patient: bool) -> None:
        """Take a place of the owner's share, or of nobody's for None; `patient` callers wait for as long as it takes.

        Raises `MedialaneError(object_store_unavailable)` if none was free in time.
        """
        try:
            async with asyncio.timeout(None if patient else self._wait_s):
                await self._take(owner)
        except TimeoutError as error:
            detail = "The object store is slow; too many wait for it."
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, detail, retry_after_s=_AGAIN_S) from error

    async def _take(self, owner: Hashable) -> None:
        if owner is not None:
            await self._shares.take(owner)
        try:
            await self._free.acquire()
        except BaseException:
            if owner is not None:
                self._shares.give_back(owner)
            raise

    def give_back(self, owner: Hashable) -> None:
        """Return one that was taken."""
        self._free.release()
        if owner is not None:
            self._shares.give_back(owner)

    @asynccontextmanager
    async def taken(self, owner: Hashable, *, patient: bool) -> AsyncIterator[None]:
        """Inside, a place is taken. Raises as `take` does."""
        await self.take(owner, patient=patient)
        try:
            yield
        finally:
            self.give_back(owner)
