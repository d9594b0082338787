"""How long to wait before asking a dependency again that did not answer."""

import asyncio

from schemas.errors import ErrorClass, MedialaneError
from streams.pauses import backoff

_CAP_S = 3.0
_BASE_S = 0.1


def is_outage(error: Exception) -> bool:
    """Whether it only says that a dependency is away: no stack tells more about that."""
    return isinstance(error, MedialaneError) and error.error_class is ErrorClass.DEPENDENCY


async def pause(failures: int, *, cap_s: float = _CAP_S) -> None:
    """Sleep after the n-th failure in a row (from 1): doubling from 0.1 s to the cap, jittered downwards."""
    await asyncio.sleep(backoff(failures - 1, base_s=_BASE_S, cap_s=cap_s))
