"""Sending dispatches back to their rows (`streams.overflow`): one transaction for all that a lane has too many of."""

from collections.abc import Sequence

from connectors.postgres.database import Database
from connectors.postgres.protocol.excess import Excess, send_back
from connectors.telemetry.metrics import Metrics
from schemas.metrics import EVENTS_PROCESSED
from schemas.records import DISPATCH_TYPE
from streams.media.handler import Payload
from streams.media.records import Offer


class ExcessReturn:
    """Puts the jobs of one topic's records back until they are due; an `Overflow`'s `SendBack`."""

    def __init__(self, database: Database, metrics: Metrics, topic: str) -> None:
        self._database = database
        self._metrics = metrics
        self._topic = topic

    async def __call__(self, offers: Sequence[tuple[Payload, float]]) -> list[bool]:
        """Say which records are done with; what is no dispatch stays. Raises `MedialaneError`."""
        excess = [
            Excess(payload.dispatch.job_id, payload.dispatch.dispatch, delay_s)
            for payload, delay_s in offers
            if isinstance(payload, Offer)
        ]
        async with self._database.transaction() as connection:
            returned = await send_back(connection, excess)
        for outcome, count in (("capped", len(returned)), ("stale", len(excess) - len(returned))):
            self._metrics.counter(EVENTS_PROCESSED, self._topic, DISPATCH_TYPE, outcome).inc(count)
        return [isinstance(payload, Offer) for payload, _ in offers]
