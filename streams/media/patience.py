"""What is done with finished work when that which has to take it is away: it waits, since making it anew costs more."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from schemas.errors import ErrorCode, MedialaneError
from streams.pauses import jitter

T = TypeVar("T")

log = structlog.get_logger(__name__)

_PAUSE_S = 0.5


async def until_back(
    attempt: Callable[[], Awaitable[T]],
    away: ErrorCode,
    *,
    patience_s: float = math.inf,
    on_outage: Callable[[MedialaneError], None] = lambda _: None,
) -> T:
    """What `attempt` returns; tried again as long as it fails with the code `away`. A lost lease cancels the waiting.

    `on_outage` is told of the first failure only: what one file waits for is not always away for others. Raises
    whatever else `attempt` raises, and its last failure once it has failed for `patience_s` seconds.
    """
    began, waits = time.monotonic(), False
    while True:
        try:
            return await attempt()
        except MedialaneError as error:
            if error.code is not away:
                raise
            if not waits:
                log.warning("finished work waits", code=error.code, error=str(error))
                on_outage(error)
            if time.monotonic() - began > patience_s:
                raise
            waits = True
        await asyncio.sleep(jitter(_PAUSE_S))
