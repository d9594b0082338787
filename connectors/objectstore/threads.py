"""Threads for calls that block.

A call that nobody waits for any more keeps its thread, and with it its place, until the call itself has ended.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from connectors.objectstore.places import Places

T = TypeVar("T")


class Threads:
    """A bounded pool, for one event loop."""

    def __init__(self, places: Places) -> None:
        """As many as there are places."""
        self._pool = ThreadPoolExecutor(places.count, thread_name_prefix="s3")
        self._places = places

    async def run(self, call: Callable[[], T], *, patient: bool = False, owner: Hashable = None) -> T:
        """What `call` returns or raises, in a place of the owner's. Raises as `Places.take` does, too."""
        await self._places.take(owner, patient=patient)
        try:
            running = self._pool.submit(call)
        except RuntimeError:  # closed
            self._places.give_back(owner)
            raise
        loop = asyncio.get_running_loop()

        def ended(_: "Future[T]") -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended first
                loop.call_soon_threadsafe(self._places.give_back, owner)

        running.add_done_callback(ended)
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """Take no more calls; those that run end with their answer."""
        self._pool.shutdown(wait=False, cancel_futures=True)
