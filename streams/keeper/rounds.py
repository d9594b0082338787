"""One round of the keeper, every second: the rules of the job protocol that no worker can apply to itself.

Any number of keepers may run: rows are taken with SKIP LOCKED, and a rule that finds nothing does nothing. What is most
urgent comes first, and no rule has more than some batches in a round: the next rule's turn has to come, and the next
round's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from connectors.postgres.locks import AS_A_HEARTBEAT
from connectors.postgres.protocol import breakers, keeper
from connectors.postgres.protocol import credits as credit
from connectors.postgres.protocol.jobs import FencedError
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorClass, ErrorCode, MedialaneError
from schemas.metrics import (
    BREAKER_CHANGES,
    DLQ_MESSAGES,
    JOBS_FINISHED,
    KEEPER_MOVES,
    KEEPER_ROUND_DURATION,
)
from schemas.settings import BreakerSettings, KeeperSettings
from schemas.states import BreakerState
from streams.keeper.lease_grace import LeaseGrace

log = structlog.get_logger(__name__)

Rule = Callable[[AsyncConnection], Awaitable[int]]

_MOST_BATCHES = 10
_MOST_HELD_BATCHES = 4  # of what is held back or let go: a tenant may have a million rows of it, and none is urgent


class Rounds:
    """Applies the rules round after round, until cancelled."""

    def __init__(
        self, database: Database, settings: KeeperSettings, metrics: Metrics, budget: BreakerSettings | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._budget = budget or BreakerSettings()
        self._metrics = metrics
        self.grace = LeaseGrace(database, lease_s=settings.lease_s, interval_s=settings.interval_s)
        self._last_good: float | None = None

    @property
    def seconds_since_good(self) -> float | None:
        """How long ago a round last succeeded; None before the first."""
        return None if self._last_good is None else time.monotonic() - self._last_good

    async def run(self) -> None:
        """One round per interval, for ever."""
        while True:
            started = time.monotonic()
            try:
                await self.round()
                self._last_good = time.monotonic()
                self._metrics.histogram(KEEPER_ROUND_DURATION).observe(self._last_good - started)
            except MedialaneError as error:
                log.warning("keeper lost the database; when it is back, leases count after one", error=str(error))
            await asyncio.sleep(self._settings.interval_s)

    async def round(self) -> None:
        """Apply every rule once; each in transactions of its own, until it finds nothing or has had its batches.

        Those about leases that are over, only when their holders had the time to renew them.
        """
        batch, reemit_s = self._settings.batch, self._settings.requeue_after_s
        if self.grace.over:
            await self._drain("expired", lambda c: self._emit_expired(c, batch, reemit_s))
        await self._judge_breakers()
        await self._drain("due", lambda c: keeper.emit_due(c, batch=batch, reemit_s=reemit_s))
        await self._drain("unclaimed", lambda c: keeper.emit_unclaimed(c, batch=batch, reemit_s=reemit_s))
        await self._hold_and_let_go()
        await self._drain("credit", lambda c: credit.mend(c, batch=batch, reemit_s=reemit_s))
        if self.grace.over:
            await self._bury_lost()

    async def _leases_count(self, connection: AsyncConnection) -> bool:
        # A statement that waits for the table compares leases with the time after that, while nobody could renew one:
        # so this waits before it, as whoever renews does, and looks at the grace then.
        await connection.execute(AS_A_HEARTBEAT)
        return self.grace.over

    async def _emit_expired(self, connection: AsyncConnection, batch: int, reemit_s: float) -> int:
        if not await self._leases_count(connection):
            return 0
        deaths, lease_s = self._settings.max_deaths, self._settings.lease_s
        return await keeper.emit_expired(connection, batch=batch, max_deaths=deaths, reemit_s=reemit_s, lease_s=lease_s)

    async def _judge_breakers(self) -> None:
        async with self._database.transaction() as connection:
            changed = [
                *((tenant, BreakerState.OPEN) for tenant in await breakers.trip(connection, self._budget)),
                *await breakers.judge_probes(connection, self._budget),
            ]
        for tenant, state in changed:
            self._metrics.counter(BREAKER_CHANGES, state).inc()
            log.warning("a tenant's breaker changed", tenant_id=str(tenant), state=state.value)

    async def _hold_and_let_go(self) -> None:
        batch, reemit_s = self._settings.batch, self._settings.requeue_after_s
        await self._drain("held", lambda c: breakers.park(c, batch=batch), most=_MOST_HELD_BATCHES)
        await self._drain("let_go", lambda c: breakers.let_go(c, batch=batch), most=_MOST_HELD_BATCHES)
        async with self._database.transaction() as connection:
            probes = await breakers.probe(connection, reemit_s=reemit_s)
        if probes:
            self._metrics.counter(KEEPER_MOVES, "probe").inc(probes)

    async def _drain(self, name: str, rule: Rule, *, most: int = _MOST_BATCHES) -> None:
        for _ in range(most):
            async with self._database.transaction() as connection:
                moved = await rule(connection)
            if not moved:
                return
            self._metrics.counter(KEEPER_MOVES, name).inc(moved)
            log.info("keeper moved jobs", rule=name, jobs=moved)

    async def _bury_lost(self) -> None:
        settings = self._settings
        async with self._database.transaction() as connection:
            if not await self._leases_count(connection):
                return
            lost = await keeper.lost_jobs(
                connection, batch=settings.batch, max_deaths=settings.max_deaths, lease_s=settings.lease_s
            )
        for job in lost:
            try:
                async with self._database.transaction() as connection:
                    if not await self._leases_count(connection):
                        return
                    await keeper.bury_lost(connection, job)
            except FencedError:
                continue  # it came back to life, another keeper was faster, or its tenant was removed
            self._metrics.counter(KEEPER_MOVES, "lost").inc()
            # Never tried again, but no more the input's fault than what is: it counts against the success of jobs.
            self._metrics.counter(JOBS_FINISHED, job.stage, "failed", ErrorClass.TRANSIENT).inc()
            self._metrics.counter(DLQ_MESSAGES, job.topic, ErrorCode.WORKER_LOST).inc()
            log.error("job given up: it took too many workers with it", job_id=str(job.job_id))
