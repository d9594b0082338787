"""A media worker between Kafka and the jobs: the Faust app of one topic, its lanes, their gauges and their watchdog."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog

from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.metrics import Metrics
from schemas.settings import KafkaSettings, WorkerSettings
from schemas.states import MediaKind
from schemas.topics import JOB_TOPICS
from streams.core.lane import Bounds
from streams.core.queues import Fifo
from streams.core.roundrobin import DeficitRoundRobin, Shares
from streams.crew import Drained, Handler
from streams.faust_app import Record, build_app
from streams.gauges import LaneGauges
from streams.health import Watchdog
from streams.lanes import Lanes
from streams.lifecycle import Task
from streams.media.handler import Payload, offered_before, tenant_of
from streams.media.records import read
from streams.member import Member

log = structlog.get_logger(__name__)


class MediaWorker:
    """Consumes one job topic. Start its `tasks`; end with `drain`. Not `fair`: first in, first out, to compare with."""

    def __init__(
        self,
        handler: Handler[Payload, ClaimedJob],
        kafka: KafkaSettings,
        settings: WorkerSettings,
        metrics: Metrics,
        *,
        kind: MediaKind,
        group: str,
        slots: int,
        fair: bool = True,
    ) -> None:
        self._route = JOB_TOPICS[kind].route
        bounds = Bounds.of(running=settings.lane_concurrency, window=settings.lane_window)
        self.shares = Shares()
        self.lanes: Lanes[Payload, ClaimedJob] = Lanes(
            handler, lambda: self.member.flow, slots=slots, bounds=bounds,
            queue=lambda: DeficitRoundRobin(self.shares) if fair else Fifo(),
            weight=lambda tenant: self.shares.of(tenant).weight,
        )  # fmt: skip
        self._app = build_app(
            group, JOB_TOPICS[kind].name(kafka.topic_prefix), kafka, settings, self.lanes, self._receive
        )
        self.member = Member(self._app, kafka)
        self._gauges = LaneGauges(metrics, self.lanes, self.member)
        self._watchdog = Watchdog(self.member, self.lanes, patience_s=settings.watchdog_s)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What runs as long as the process does; one that ends or raises is a reason to end the process."""
        return {
            "consumer": self.member.run,
            "lanes": self.lanes.watch,
            "gauges": self._gauges.run,
            "watchdog": self._watchdog.run,
        }

    def problems(self) -> Sequence[str]:
        """Why the worker is not ready."""
        return self.member.problems()

    async def drain(self, timeout_s: float) -> Drained[ClaimedJob]:
        """Take in nothing more, commit, leave the group, let jobs finish, give the rest back: all in `timeout_s`.

        The group goes on without us at once: jobs are held by their leases, not by partitions.
        """
        over = time.monotonic() + timeout_s
        await self.lanes.stop_intake(timeout_s)
        left_s = max(0.0, over - time.monotonic())  # a database that is silent may have kept claims waiting
        ended, _ = await asyncio.gather(self.lanes.drain(left_s), self.member.leave(left_s))
        for outcome, jobs in ended._asdict().items():
            for job in jobs:
                log.info("job at drain", outcome=outcome, **job.log_names)
        log.info("drained", **{outcome: len(jobs) for outcome, jobs in ended._asdict().items()})
        return ended

    def _receive(self, record: Record) -> None:
        payload = read(record, self._route)
        self.lanes.put(record.partition, record.offset, tenant_of(payload), payload, again=offered_before(payload))
