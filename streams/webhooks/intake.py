"""From Kafka records to the agent: books of what was taken in, and a bound on how much of it is in memory.

A record's outcome is durable when its deliveries are committed, when nobody wants it, or when it is dead-lettered;
sending holds no offset.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import structlog

from connectors.telemetry import Metrics
from connectors.telemetry.messaging import header_traceparent
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import DLQ_MESSAGES, EVENT_AGE, EVENT_PROCESSING_DURATION, EVENTS_PROCESSED
from schemas.topics import EVENTS
from streams.core.ledger import Entry, Ledger, Partition
from streams.faust_app import Record
from streams.webhooks.agent import WebhookAgent
from streams.webhooks.message import read_event
from streams.webhooks.pace import CAP_S, is_outage, pause

log = structlog.get_logger(__name__)

# Open records of a partition at which fetching stops, and goes on.
_FULL, _ROOM = 2000, 500
_POLL = 500  # many small records: fetched by the hundred, planned by the hundred
_UNKNOWN = "unknown"
_LAST_BURIALS_S = 5.0
# After this a burial that still fails is said to be a problem: it holds its partition's offsets.
_LASTING_S = 60.0
# Of a burial that fails for no known reason: it will again, and each try is logged with its stack.
_DEFECT_PAUSE_S = 60.0


class Flow(Protocol):
    """Who fetches: Faust's consumer."""

    def on_buffer_full(self, tp: Any) -> None:
        """Stop fetching from a partition."""

    def on_buffer_drop(self, tp: Any) -> None:
        """Fetch from it again."""


Bury = Callable[[Record, str], Awaitable[None]]
"""Dead-letters a record, for a reason; confirmed on return. Whatever it raises, it is called again."""


class Intake:
    """The consumer's books (`streams.transport.Books`), and its `receive`. One event loop only.

    `flow` is asked for when a partition fills up or has room again: the consumer is made after this.
    """

    def __init__(self, agent: WebhookAgent, bury: Bury, flow: Callable[[], Flow], metrics: Metrics) -> None:
        self.ledger = Ledger()
        self._agent = agent
        self._bury = bury
        self._flow = flow
        self._metrics = metrics
        self._full: set[Partition] = set()
        self._burials: dict[asyncio.Task[None], float] = {}  # since when
        self._closing = False

    # -- what the consumer calls ------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """An assignment of exactly these partitions begins."""
        self._full.clear()
        self.ledger.assign(partitions)

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Close the books; what is planned already stays planned, and its record comes again without effect."""
        revoked = [Partition(*partition) for partition in partitions]
        self._full.difference_update(revoked)
        self.ledger.revoke(revoked)

    @property
    def poll(self) -> int:
        """Records per fetch."""
        return _POLL

    def positions(self) -> Mapping[Partition, int]:
        """What may be committed."""
        return self.ledger.positions()

    def receive(self, record: Record) -> None:
        """Take in a record; dropped if its partition is not ours any more, or the process is stopping."""
        entry = None if self._closing else self.ledger.open(record.partition, record.offset, at=time.monotonic())
        if entry is None:
            return
        self._metrics.histogram(EVENT_AGE, record.partition.topic).observe(max(0.0, time.time() - record.timestamp))
        try:
            event = read_event(record.value, header_traceparent(record.headers))
        except MedialaneError as error:
            self._give_up(entry, record, _UNKNOWN, error)
        else:
            kind = event.envelope.type
            self._agent.offer(
                event,
                durable=partial(self._settle, entry, kind, "ok", time.monotonic()),
                broken=partial(self._give_up, entry, record, kind),
            )
        self._signal(record.partition)

    def problems(self) -> list[str]:
        """Why offsets do not move; empty while they may."""
        waited = time.monotonic() - min(self._burials.values(), default=math.inf)
        return [f"a dead letter has waited for {waited:.0f} s"] if waited > _LASTING_S else []

    # -- the end ----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Take in nothing more; on return every outcome that will be known is known, and may be committed."""
        self._closing = True
        await self._agent.stop_intake()
        if self._burials:
            # One that is cut off in the middle is told a second time by whoever reads the record next.
            await asyncio.wait(self._burials, timeout=_LAST_BURIALS_S)
        for burial in self._burials:
            burial.cancel()
        await asyncio.gather(*self._burials, return_exceptions=True)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _settle(self, entry: Entry, kind: str, outcome: str, started: float) -> None:
        topic = entry.partition.topic
        self.ledger.settle(entry)
        self._metrics.counter(EVENTS_PROCESSED, topic, kind, outcome).inc()
        self._metrics.histogram(EVENT_PROCESSING_DURATION, topic, kind).observe(time.monotonic() - started)
        self._signal(entry.partition)

    def _give_up(self, entry: Entry, record: Record, kind: str, error: Exception) -> None:
        reason = error.detail if isinstance(error, MedialaneError) else f"{type(error).__name__}: {error}"
        burial = asyncio.create_task(self._burial(entry, record, kind, reason))
        self._burials[burial] = time.monotonic()
        burial.add_done_callback(self._burials.pop)

    async def _burial(self, entry: Entry, record: Record, kind: str, reason: str) -> None:
        started, failures = time.monotonic(), 0
        while True:
            try:
                await self._bury(record, reason)
            except Exception as error:
                failures += 1
                expected = is_outage(error)
                log.warning("a dead letter waits", failures=failures, exc_info=None if expected else error)
                await pause(failures, cap_s=CAP_S if expected else _DEFECT_PAUSE_S)
            else:
                self._metrics.counter(DLQ_MESSAGES, EVENTS.route, ErrorCode.UNDECODABLE_RECORD).inc()
                return self._settle(entry, kind, "dead", started)

    def _signal(self, partition: Partition) -> None:
        waiting = self.ledger.open_records(partition)
        if waiting >= _FULL and partition not in self._full:
            self._full.add(partition)
            self._flow().on_buffer_full(partition)
        elif waiting <= _ROOM and partition in self._full:
            self._full.remove(partition)
            self._flow().on_buffer_drop(partition)
