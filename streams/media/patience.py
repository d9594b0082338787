"""What is done with finished work when that which has to take it is away: it waits, since making it anew costs more."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from schemas.errors import ErrorCode, MedialaneError

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


def backoff(attempts: int, *, base_s: float, cap_s: float) -> float:
    """The pause before the next attempt, after so many that failed before this one: doubles, up to the cap."""
    return jitter(min(base_s * 2.0**attempts, cap_s))


def jitter(seconds: float) -> float:
    """A pause of about so many seconds: half of them at least, so that not all who wait come back at once."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
