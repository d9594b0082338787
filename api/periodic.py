"""What is done now and then beside the requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def every(pause_s: float, act: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Act after each pause, until the body ends. What it fails of is logged, and keeps nobody from the next time."""
    task = asyncio.create_task(_again(pause_s, act))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _again(pause_s: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            await act()
        except Exception:  # noqa: BLE001 - whatever it is, requests go on
            _log.exception("what is done beside the requests failed")
