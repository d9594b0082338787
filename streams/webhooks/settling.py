"""Writes down what came of attempts: whatever is there, in one statement, as soon as the one before it is done."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from connectors.postgres import deliveries
from connectors.postgres.database import Database
from connectors.postgres.deliveries import Settlement
from connectors.telemetry import Metrics
from schemas.errors import MedialaneError
from schemas.metrics import WEBHOOK_DELIVERIES, WEBHOOK_FENCED
from schemas.states import DeliveryState
from streams.webhooks.pace import pause

log = structlog.get_logger(__name__)

_MAX_BATCH = 500
# Results of requests that ended together come within this time; the delivery is over, so it delays nobody.
_GATHER_S = 0.005
_WORDS = {DeliveryState.DELIVERED: "delivered", DeliveryState.WAITING: "retried", DeliveryState.DEAD: "dead"}


class Settled(NamedTuple):
    """The result of an attempt, and the endpoint that it disables, if it does."""

    settlement: Settlement
    endpoint_id: UUID
    disable: str | None = None


class Settling:
    """Takes results and writes them, keeping them while the database is away."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._pending: list[Settled] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, result: Settled) -> None:
        """Hand over a result; it is written soon."""
        self._pending.append(result)
        self._idle.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Write results until cancelled."""
        failures = 0
        size = _MAX_BATCH
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_GATHER_S)
            self._arrived.clear()
            while self._pending:
                batch = self._pending[:size]
                try:
                    await self._write(batch)
                except MedialaneError:
                    failures += 1
                    log.warning("results wait for the database", results=len(self._pending))
                    await pause(failures)
                    continue
                except Exception:
                    # One of them cannot be written: go on one by one, and leave that one to its lease.
                    log.exception("results cannot be written", results=len(batch))
                    if len(batch) > 1:
                        size = 1
                        continue
                failures = 0
                del self._pending[: len(batch)]
            size = _MAX_BATCH
            self._idle.set()

    async def flushed(self) -> None:
        """Wait until every result handed over so far is written."""
        await self._idle.wait()

    async def _write(self, batch: Sequence[Settled]) -> None:
        async with self._database.transaction() as connection:
            kept = await deliveries.settle(connection, [result.settlement for result in batch])
            for result in batch:
                if result.disable is not None:
                    await deliveries.disable_endpoint(connection, result.endpoint_id, reason=result.disable)
        for result in batch:
            if result.settlement.id in kept:
                self._metrics.counter(WEBHOOK_DELIVERIES, _WORDS[result.settlement.state]).inc()
        if len(kept) < len(batch):
            self._metrics.counter(WEBHOOK_FENCED).inc(len(batch) - len(kept))
