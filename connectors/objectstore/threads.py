"""Threads for calls that block, as many as there are connections, and how long a call waits for one.

A call that nobody waits for any more keeps its thread, and with it its place, until the call itself has ended. An
owner, if a call has one, gets half of the threads at most: its further calls wait, and others' do not wait for them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from connectors.shares import Shares
from schemas.errors import ErrorCode, MedialaneError

T = TypeVar("T")

_AGAIN_S = 1.0


class Threads:
    """A bounded pool, for one event loop."""

    def __init__(self, count: int, *, wait_s: float) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="s3")
        self._free = asyncio.Semaphore(count)
        self._shares = Shares(max(1, count // 2))
        self._wait_s = wait_s

    async def run(self, call: Callable[[], T], *, patient: bool = False, owner: Hashable = None) -> T:
        """What `call` returns or raises; `patient` callers wait for a thread for as long as it takes.

        `owner`: whose share of the threads it takes; None: nobody's.

        Raises `MedialaneError(object_store_unavailable)` if no thread was free in time.
        """
        try:
            async with asyncio.timeout(None if patient else self._wait_s):
                await self._take(owner)
        except TimeoutError as error:
            detail = "The object store is slow; too many wait for it."
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, detail, retry_after_s=_AGAIN_S) from error
        try:
            running = self._pool.submit(call)
        except RuntimeError:  # closed
            self._give_back(owner)
            raise
        loop = asyncio.get_running_loop()

        def ended(_: "Future[T]") -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended first
                loop.call_soon_threadsafe(self._give_back, owner)

        running.add_done_callback(ended)
        return await asyncio.wrap_future(running)

    async def _take(self, owner: Hashable) -> None:
        if owner is not None:
            await self._shares.take(owner)
        try:
            await self._free.acquire()
        except BaseException:
            if owner is not None:
                self._shares.give_back(owner)
            raise

    def _give_back(self, owner: Hashable) -> None:
        self._free.release()
        if owner is not None:
            self._shares.give_back(owner)

    def close(self) -> None:
        """Take no more calls; those that run end with their answer."""
        self._pool.shutdown(wait=False, cancel_futures=True)
