"""The outbox's upkeep: partitions made ahead and dropped behind, and how far the connector is behind it."""

import time
from collections import deque
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import structlog

from connectors.postgres import outbox_upkeep
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.metrics import OUTBOX_OLDEST_UNSENT_AGE, SLOT_RETAINED
from streams.keeper.outages import again

log = structlog.get_logger(__name__)

_SAMPLES = 3600
_UNBOUNDED = "max_slot_wal_keep_size is -1: for a slot that nobody reads, Postgres fills its disk"


class _Sample(NamedTuple):
    at: float
    lsn: int


class OutboxLag:
    """How long the oldest unsent row has waited, from samples: rows carry no LSN of their own.

    Each time a new row is seen, the WAL's end is noted; while the slot has not confirmed that position, the rows before
    it are unsent. The figure is exact to one sampling interval; after an outage of hours, to some of them.
    """

    def __init__(self) -> None:
        self._open: deque[_Sample] = deque()
        self._newest: UUID | None = None

    def observe(self, *, now: float, newest: UUID | None, end_lsn: int, confirmed_lsn: int | None) -> float:
        """Take one sample; returns the age in seconds, 0 when everything is sent."""
        if newest is not None and newest != self._newest:
            self._newest = newest
            self._open.append(_Sample(now, end_lsn))
            if len(self._open) > _SAMPLES:
                self._open = deque(islice(self._open, 0, None, 2))  # every other one: the oldest is the age
        while self._open and confirmed_lsn is not None and self._open[0].lsn <= confirmed_lsn:
            self._open.popleft()
        return now - self._open[0].at if self._open else 0.0


class OutboxUpkeep:
    """Rotates partitions and measures the slot, every `interval_s`, until cancelled."""

    def __init__(
        self, database: Database, metrics: Metrics, *, slot: str, retention_s: float, interval_s: float
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._slot = slot
        self._retention_s = retention_s
        self._interval_s = interval_s
        self._lag = OutboxLag()
        self._rotated_at = float("-inf")
        self._warned_of: set[str] = set()

    async def run(self) -> None:
        """Tend the outbox for ever; what comes meanwhile finds a place also without new partitions."""
        await again(self.tend, pause_s=self._interval_s, failed="the outbox was not tended")

    async def tend(self) -> None:
        """Measure now; rotate when it is time (every minute)."""
        now = time.monotonic()
        async with self._database.transaction() as connection:
            state = await outbox_upkeep.read_state(connection, slot=self._slot)
        age = self._lag.observe(now=now, newest=state.newest, end_lsn=state.end_lsn, confirmed_lsn=state.confirmed_lsn)
        self._metrics.gauge(OUTBOX_OLDEST_UNSENT_AGE).set(age)
        self._metrics.gauge(SLOT_RETAINED).set(state.retained_bytes)
        self._warn(state)
        if now - self._rotated_at < 60:
            return
        self._rotated_at = now
        async with self._database.transaction() as connection:
            dropped = await outbox_upkeep.rotate(connection, keep_s=self._retention_s, slot=self._slot)
        if dropped:
            log.info("outbox partitions dropped", partitions=dropped)

    def _warn(self, state: outbox_upkeep.OutboxState) -> None:
        """Say once what may fill Postgres' disk."""
        if state.unbounded and _UNBOUNDED not in self._warned_of:
            log.warning(_UNBOUNDED)
            self._warned_of.add(_UNBOUNDED)
        if idle := set(state.idle_slots) - self._warned_of:
            log.warning("nobody reads these slots, for which Postgres keeps its log", slots=sorted(idle))
            self._warned_of |= idle
