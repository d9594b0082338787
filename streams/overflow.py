"""What keeps a full lane from reading on goes back to its rows: one tenant's excess must not hide the others' records.

Credit bounds what a tenant has in Kafka, so this is for tenants with more credit than a window has room for, for
partitions of very many tenants, and for records that a cap of their tenant holds so long that the watermark lags.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog

from schemas.errors import MedialaneError
from streams.core.ledger import Partition
from streams.core.queues import Beyond
from streams.lanes import Lanes

P = TypeVar("P")

log = structlog.get_logger(__name__)

_INTERVAL_S = 0.5
_SOONEST_S, _LATEST_S = 1.0, 30.0
_LEARN = 0.2

SendBack = Callable[[Sequence[tuple[P, float]]], Awaitable[Sequence[bool]]]
"""Puts records' jobs back, each due in so many seconds; says which records are done with. Raises `MedialaneError`."""


class Overflow(Generic[P]):
    """Looks at full lanes twice a second. `behind` tells whether a partition has records that were not read yet."""

    def __init__(self, lanes: Lanes[P, Any], send_back: SendBack[P], behind: Callable[[Partition], bool]) -> None:
        self._lanes = lanes
        self._send_back = send_back
        self._behind = behind
        self._started: dict[Partition, tuple[int, float]] = {}  # items so far, and items per second lately

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Look at every lane once."""
        for key, lane in list(self._lanes.lanes.items()):
            before, rate = self._started.get(key, (0, 0.0))
            rate += _LEARN * ((lane.started - before) / _INTERVAL_S - rate)
            self._started[key] = lane.started, rate
            excess = self._lanes.take_excess(key, behind=self._behind(key))
            if excess:
                await self._return(key, excess, rate)
        self._started = {key: seen for key, seen in self._started.items() if key in self._lanes.lanes}

    async def _return(self, key: Partition, excess: Sequence[Beyond[P]], rate: float) -> None:
        # Back when its turn would have come: earlier, and the lane is full of it again; later, and the lane runs dry.
        tenants = len({beyond.item.tenant for beyond in excess})
        offers = [(one.item.payload, _delay(one.position * tenants / max(rate, 0.01))) for one in excess]
        done: Sequence[bool] = [False] * len(excess)
        try:
            done = await self._send_back(offers)
        except MedialaneError as error:
            log.warning("excess stays in its lane", topic=key.topic, kpart=key.partition, error=str(error))
        else:
            log.info("excess sent back to its rows", topic=key.topic, kpart=key.partition, records=sum(done))
        finally:
            for one, over in zip(excess, done, strict=True):
                (self._lanes.done_with if over else self._lanes.offer_again)(one.item)


def _delay(seconds: float) -> float:
    return min(max(seconds, _SOONEST_S), _LATEST_S) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads, guards nothing
