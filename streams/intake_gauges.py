"""How far behind whoever takes in events is (the webhook agent, the usage table), per partition, once a second."""

import asyncio
import time
from collections.abc import Callable

from connectors.telemetry import Metrics
from schemas.metrics import CONSUMER_LAG, LANE_HEAD_AGE, LANE_QUEUED, LANE_WATERMARK_GAP, GaugeSpec
from streams.core.ledger import Ledger, Partition

_INTERVAL_S = 1.0
_PER_PARTITION = (LANE_QUEUED, LANE_HEAD_AGE, LANE_WATERMARK_GAP, CONSUMER_LAG)


class IntakeGauges:
    """Shows the books of every assigned partition; one that is gone is forgotten."""

    def __init__(self, metrics: Metrics, ledger: Ledger, highwater: Callable[[Partition], int | None]) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._highwater = highwater
        self._shown: set[Partition] = set()

    async def run(self) -> None:
        """Bring the gauges up to date until cancelled."""
        while True:
            self.update()
            await asyncio.sleep(_INTERVAL_S)

    def update(self) -> None:
        """Bring every gauge up to date now."""
        now, positions = self._ledger.partitions, self._ledger.positions()
        for key in self._shown - now:
            for spec in _PER_PARTITION:
                self._metrics.forget(spec, *_labels(key))
        for key in now:
            for spec, value in self._figures(key, positions.get(key)).items():
                self._metrics.gauge(spec, *_labels(key)).set(value)
        self._shown = set(now)

    def _figures(self, key: Partition, position: int | None) -> dict[GaugeSpec, float]:
        since, end = self._ledger.head_since(key), self._highwater(key)
        return {
            LANE_QUEUED: self._ledger.open_records(key),
            LANE_HEAD_AGE: 0.0 if since is None else time.monotonic() - since,
            LANE_WATERMARK_GAP: self._ledger.gap(key),
            CONSUMER_LAG: 0 if end is None or position is None else max(0, end - position),
        }


def _labels(key: Partition) -> tuple[str, str]:
    return key.topic, str(key.partition)
