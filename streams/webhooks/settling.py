"""Writes down what came of attempts: whatever is there, in one statement, as soon as the one before it is done."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries
from connectors.postgres.webhooks.deliveries import Settlement
from connectors.telemetry import Metrics
from schemas.metrics import WEBHOOK_DELIVERIES, WEBHOOK_FENCED
from schemas.states import DeliveryState
from streams.webhooks.batches import Batches

log = structlog.get_logger(__name__)

# Results of requests that ended together come within this time; the delivery is over, so it delays nobody.
_GATHER_S = 0.005
_WORDS = {DeliveryState.DELIVERED: "delivered", DeliveryState.WAITING: "retried", DeliveryState.DEAD: "dead"}


class Settled(NamedTuple):
    """The result of an attempt at `url`, and why its endpoint is disabled while that is its address, if it is."""

    settlement: Settlement
    endpoint_id: UUID
    url: str
    disable: str | None = None


class Settling:
    """Takes results and writes them, keeping them while the database is away."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._results: Batches[Settled] = Batches("results", self._write, _hopeless, gather_s=_GATHER_S)

    def put(self, result: Settled) -> None:
        """Hand over a result; it is written soon."""
        self._results.put(result)

    async def run(self) -> None:
        """Write results until cancelled."""
        await self._results.run()

    async def flushed(self) -> None:
        """Wait until every result handed over so far is written."""
        await self._results.emptied()

    async def _write(self, batch: Sequence[Settled]) -> int:
        async with self._database.transaction() as connection:
            kept = await deliveries.settle(connection, [result.settlement for result in batch])
            for result in batch:
                if result.disable is not None:
                    await deliveries.disable_endpoint(
                        connection, result.endpoint_id, url=result.url, reason=result.disable
                    )
        for result in batch:
            if result.settlement.id in kept:
                self._metrics.counter(WEBHOOK_DELIVERIES, _WORDS[result.settlement.state]).inc()
        if len(kept) < len(batch):
            self._metrics.counter(WEBHOOK_FENCED).inc(len(batch) - len(kept))
        return len(batch)


def _hopeless(result: Settled, error: Exception) -> None:
    # Its delivery is left to the lease, and tried again.
    log.error("a result cannot be written", delivery_id=str(result.settlement.id), exc_info=error)
