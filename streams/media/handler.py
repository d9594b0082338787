"""What a media lane does with a record: claim the job that it offers, bury what is none, leave what is not for us."""

import time
from typing import Protocol

import structlog

from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.messaging import header_traceparent
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode
from schemas.metrics import DLQ_MESSAGES, EVENT_AGE, EVENT_PROCESSING_DURATION, EVENTS_PROCESSED
from schemas.records import DISPATCH_TYPE, Dispatch, Origin
from streams.dead_letters import DeadLetters, Undecodable
from streams.media.records import Foreign, Offer

log = structlog.get_logger(__name__)

Payload = Offer | Foreign | Undecodable


class JobRunner(Protocol):
    """Claims jobs and runs them; `streams.media.execution.MediaJobRunner` is the one."""

    async def claim(self, record: Dispatch, traceparent: str | None, origin: Origin | None = None) -> ClaimedJob | None:
        """Take the job; committed on return. None: the record is stale or a repeat.

        Raises `MedialaneError` of class DEPENDENCY: the outcome is unknown, offer the record again.
        """

    async def run(self, job: ClaimedJob) -> float:
        """Work on a claimed job; never raises, every outcome goes to its row. Cancelled: the job is given back.

        Returns the CPU seconds that it took, 0 if nobody knows (all children died, it was parked).
        """


class MediaHandler:
    """The lanes' handler (`streams.crew.Handler`) for one job topic."""

    def __init__(
        self, runner: JobRunner, dead_letters: DeadLetters, metrics: Metrics, *, topic: str, route: str, group: str
    ) -> None:
        """`route` is the topic's name without the installation's prefix."""
        self._runner = runner
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._topic = topic
        self._route = route
        self._group = group

    async def claim(self, payload: Payload) -> ClaimedJob | None:
        """Make the record's outcome durable; returns the job that is ours now, if one is. Raises `MedialaneError`."""
        started = time.monotonic()
        self._metrics.histogram(EVENT_AGE, self._topic).observe(max(0.0, time.time() - payload.record.timestamp))
        job = None
        match payload:
            case Offer(dispatch, record):
                origin = Origin(*record.partition, record.offset, self._group)
                job = await self._runner.claim(dispatch, header_traceparent(record.headers), origin)
                outcome = "stale" if job is None else "claimed"
            case Undecodable():
                await self._dead_letters.write(payload)
                self._metrics.counter(DLQ_MESSAGES, self._route, ErrorCode.UNDECODABLE_RECORD).inc()
                outcome = "undecodable"
            case Foreign(reason, record):
                log.warning("record left to the keeper", reason=reason, **record.log_names)
                outcome = "left"
        self._metrics.counter(EVENTS_PROCESSED, self._topic, DISPATCH_TYPE, outcome).inc()
        self._metrics.histogram(EVENT_PROCESSING_DURATION, self._topic, DISPATCH_TYPE).observe(
            time.monotonic() - started
        )
        return job

    async def run(self, work: ClaimedJob) -> float:
        """Do the job; returns the CPU seconds that it took, by which the lane's queue settles accounts.

        Where nobody knows (no child was asked, or its nursery died with it), the cost is the time that it held its
        slot, for it was not free.
        """
        started = time.monotonic()
        return await self._runner.run(work) or time.monotonic() - started


def tenant_of(payload: Payload) -> str:
    """Whose turn it is when this record is; what belongs to nobody shares a turn."""
    return str(payload.dispatch.tenant_id) if isinstance(payload, Offer) else ""


def offered_before(payload: Payload) -> bool:
    """Whether this is not the first offer of its job: it came back from a worker that died, drained or had no room."""
    return isinstance(payload, Offer) and payload.dispatch.dispatch > 1
