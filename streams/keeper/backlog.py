"""Counts what waits, for gauges. No part of a round: a large backlog takes long to count, and jobs need the rounds."""

from connectors.postgres.database import Database
from connectors.postgres.protocol import breakers, keeper
from connectors.telemetry.metrics import Metrics
from schemas.metrics import BREAKERS, JOBS_OLDEST_WAITING, JOBS_WAITING, WAIT_REASONS
from schemas.states import BreakerState
from streams.keeper.outages import again

_INTERVAL_S = 10.0


class BacklogGauges:
    """Measures every few seconds, until cancelled."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics

    async def run(self) -> None:
        """Measure for ever."""
        await again(self.measure, pause_s=_INTERVAL_S, failed="the backlog was not counted")

    async def measure(self) -> None:
        """Set every gauge once."""
        async with self._database.transaction() as connection:
            found = {(row.state, row.reason): row for row in await keeper.backlog(connection)}
            open_ = [breaker.state for breaker in await breakers.list_breakers(connection)]
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            self._metrics.gauge(BREAKERS, state).set(open_.count(state))
        for reason in WAIT_REASONS:
            row = found.get(("waiting", reason))
            self._metrics.gauge(JOBS_WAITING, reason).set(row.jobs if row else 0)
            self._metrics.gauge(JOBS_OLDEST_WAITING, reason).set(row.oldest_s if row else 0)
        queued = found.get(("queued", ""))
        self._metrics.gauge(JOBS_OLDEST_WAITING, "queued").set(queued.oldest_s if queued else 0)
