"""From Kafka records to the agent: books of what was taken in, and a bound on how much of it is in memory.

A record's outcome is durable when its deliveries are committed, when nobody wants it, or when it is dead-lettered;
sending holds no offset.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog

from connectors.telemetry import Metrics
from connectors.telemetry.messaging import header_traceparent
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import DLQ_MESSAGES, EVENT_AGE, EVENT_PROCESSING_DURATION, EVENTS_PROCESSED
from schemas.topics import EVENTS
from streams.core.ledger import Entry, Ledger, Partition
from streams.core.ports import Flow
from streams.faust_app import Record
from streams.webhooks.agent import WebhookAgent
from streams.webhooks.message import read_event
from streams.webhooks.pace import is_outage, pause

log = structlog.get_logger(__name__)

# Open records at which fetching stops: of a partition, and of all that are assigned, each with its share. At a quarter
# it goes on. What was fetched already still comes, two polls at most.
_FULL, _ALL_FULL = 2000, 32_000
_POLL = 500  # many small records: fetched by the hundred, planned by the hundred
_BURIALS = 2  # at once: each takes a connection of the planner's pool
_UNKNOWN = "unknown"
_LAST_BURIALS_S = 5.0
# After this a burial that still fails is said to be a problem: it holds its partition's offsets.
_LASTING_S = 60.0
# Of a burial that fails for no known reason: it will again, and each try is logged with its stack.
_DEFECT_PAUSE_S = 60.0


Bury = Callable[[Record, str], Awaitable[None]]
"""Dead-letters a record, for a reason; confirmed on return. Whatever it raises, it is called again."""


class Intake:
    """The consumer's books (`streams.core.ports.Books`), and its `receive`. One event loop only.

    `flow` is asked for when a partition fills up or has room again: the consumer is made after this.
    """

    def __init__(self, agent: WebhookAgent, bury: Bury, flow: Callable[[], Flow], metrics: Metrics) -> None:
        self.ledger = Ledger()
        self._agent = agent
        self._bury = bury
        self._flow = flow
        self._metrics = metrics
        self._full_at = _FULL
        self._full: set[Partition] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._grave = asyncio.Semaphore(_BURIALS)
        self._refused: dict[Entry, float] = {}  # whose burial failed, and when it first did
        self._closing = False

    # -- what the consumer calls ------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """An assignment of exactly these partitions begins."""
        self._full.clear()
        self.ledger.assign(partitions)
        self._full_at = min(_FULL, _ALL_FULL // max(1, len(self.ledger.partitions)))

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
        waited = time.monotonic() - min(self._refused.values(), default=math.inf)
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
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _burial(self, entry: Entry, record: Record, kind: str, reason: str) -> None:
        started, failures = time.monotonic(), 0
        while (error := await self._refusal(entry, record, reason, failures)) is not None:
            failures += 1
            if not is_outage(error):
                await pause(failures, cap_s=_DEFECT_PAUSE_S)
        self._refused.pop(entry, None)
        self._metrics.counter(DLQ_MESSAGES, EVENTS.route, ErrorCode.UNDECODABLE_RECORD).inc()
        self._settle(entry, kind, "dead", started)

    async def _refusal(self, entry: Entry, record: Record, reason: str, failures: int) -> Exception | None:
        """Try to bury, a few records at once; why it failed, None if it did not."""
        async with self._grave:
            try:
                await self._bury(record, reason)
            except Exception as error:
                self._refused.setdefault(entry, time.monotonic())
                outage = is_outage(error)
                log.warning("a dead letter waits", failures=failures + 1, exc_info=None if outage else error)
                if outage:  # in here: whoever is next would meet the same
                    await pause(failures + 1)
                return error
        return None

    def _signal(self, partition: Partition) -> None:
        waiting = self.ledger.open_records(partition)
        if waiting >= self._full_at and partition not in self._full:
            self._full.add(partition)
            self._flow().on_buffer_full(partition)
        elif waiting <= self._full_at // 4 and partition in self._full:
            self._full.remove(partition)
            self._flow().on_buffer_drop(partition)
