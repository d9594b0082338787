"""How long to wait before asking a dependency again that did not answer."""

import asyncio
import random

from schemas.errors import ErrorClass, MedialaneError

CAP_S = 3.0
_BASE_S = 0.1


def is_outage(error: Exception) -> bool:
    """Whether it only says that a dependency is away: no stack tells more about that."""
    return isinstance(error, MedialaneError) and error.error_class is ErrorClass.DEPENDENCY


async def pause(failures: int, *, cap_s: float = CAP_S) -> None:
    """Sleep after the n-th failure in a row (from 1): doubling from 0.1 s to the cap, jittered downwards."""
    await asyncio.sleep(min(cap_s, _BASE_S * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1))  # noqa: S311
