"""What lanes look like from outside: a gauge per lane and figure, and the process's slots; set once a second."""

import asyncio
import time
from typing import Any

from connectors.telemetry.metrics import Metrics
from schemas.metrics import (
    CONSUMER_LAG,
    LANE_HEAD_AGE,
    LANE_QUEUED,
    LANE_RUNNING,
    LANE_SLOTS,
    LANE_WATERMARK_GAP,
    PROCESS_SLOTS,
    PROCESS_SLOTS_TAKEN,
    GaugeSpec,
)
from streams.core.ledger import Partition
from streams.lanes import Lanes
from streams.member import Member

_INTERVAL_S = 1.0


class LaneGauges:
    """Shows the lanes; a lane that is gone is forgotten, because a stale gauge is worse than none."""

    def __init__(self, metrics: Metrics, lanes: Lanes[Any, Any], member: Member) -> None:
        self._metrics = metrics
        self._lanes = lanes
        self._member = member
        self._shown: set[tuple[GaugeSpec, Partition]] = set()

    async def run(self) -> None:
        """Bring the gauges up to date until cancelled."""
        while True:
            self.update()
            await asyncio.sleep(_INTERVAL_S)

    def update(self) -> None:
        """Bring every gauge up to date now."""
        slots = self._lanes.slots
        self._metrics.gauge(PROCESS_SLOTS).set(slots.total)
        self._metrics.gauge(PROCESS_SLOTS_TAKEN).set(slots.total - slots.free)
        now = {key: self._figures(key) for key in self._lanes.lanes}
        shown = set()
        for key, figures in now.items():
            for spec, value in figures.items():
                self._metrics.gauge(spec, key.topic, str(key.partition)).set(value)
                shown.add((spec, key))
        for spec, key in self._shown - shown:
            self._metrics.forget(spec, key.topic, str(key.partition))
        self._shown = shown

    def _figures(self, key: Partition) -> dict[GaugeSpec, float]:
        lane, ledger = self._lanes.lanes[key], self._lanes.ledger
        since = ledger.head_since(key)
        figures: dict[GaugeSpec, float] = {
            LANE_RUNNING: lane.running,
            LANE_QUEUED: lane.waiting,
            LANE_SLOTS: lane.limit,
            LANE_HEAD_AGE: 0.0 if since is None else time.monotonic() - since,
            LANE_WATERMARK_GAP: ledger.gap(key),
        }
        # Without open records the fetch position is the truth: it is past the marker after the last transaction.
        head, end = ledger.head(key), self._member.highwater(key)
        position = self._member.position(key) if head is None else head
        if end is not None and position is not None:
            figures[CONSUMER_LAG] = max(0, end - position)
        return figures
