"""How long to wait before asking a dependency again that did not answer."""

import asyncio
import random

_BASE_S, _CAP_S = 0.1, 3.0


async def pause(failures: int) -> None:
    """Sleep after the n-th failure in a row (from 1): doubling from 0.1 s to 3 s, jittered downwards."""
    await asyncio.sleep(min(_CAP_S, _BASE_S * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1))  # noqa: S311
