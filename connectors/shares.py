"""Shares of what a process has few of, connections and threads: an owner holds so many at most, and waits for more."""

import asyncio
from collections.abc import Hashable


class _Owner:
    def __init__(self, share: int) -> None:
        self.free = asyncio.Semaphore(share)
        self.there = 0  # who holds one or waits for one


class Shares:
    """`share` for each owner, for one event loop. Who waits is served in the order of coming."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._owners: dict[Hashable, _Owner] = {}

    async def take(self, owner: Hashable) -> None:
        """Take one of the owner's, once one is free."""
        one = self._owners.setdefault(owner, _Owner(self._share))
        one.there += 1
        try:
            await one.free.acquire()
        except BaseException:
            self._leave(owner, one)
            raise

    def give_back(self, owner: Hashable) -> None:
        """Return one that was taken."""
        one = self._owners[owner]
        one.free.release()
        self._leave(owner, one)

    def _leave(self, owner: Hashable, one: _Owner) -> None:
        one.there -= 1
        if not one.there:
            del self._owners[owner]
