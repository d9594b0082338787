"""Whether Faust's consumer, which lives in a thread and an event loop of its own, still works in there.

Once that thread or its fetcher has died, what the consumer remembers of its group and its partitions
(`streams.transport`) keeps its last values, and so cannot show it.
"""

import asyncio
from typing import Any

import faust
from aiokafka.consumer.fetcher import Fetcher

from streams.transport import check_names

check_names({Fetcher: ("error_future",)})


def fetching(consumer: Any) -> bool:
    """Whether the task that asks brokers for records goes on. Nobody else looks whether it does. Never raises."""
    try:
        return not consumer._thread._ensure_consumer()._fetcher.error_future.done()  # noqa: SLF001
    except (AttributeError, faust.exceptions.FaustError):
        return True  # there is no consumer yet, or no more


def loop_of(consumer: Any) -> asyncio.AbstractEventLoop | None:
    """The event loop of the consumer's thread; None while there is none."""
    loop: asyncio.AbstractEventLoop | None = getattr(consumer._thread, "thread_loop", None)  # noqa: SLF001
    return loop
