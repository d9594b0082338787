"""A tenant's usage, from the changelog of the table that `medialane run usage` keeps (decision 21)."""

import asyncio
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from api.usage.models import DayUsage, StageUsage, UsageOut, UsageSums
from api.usage.table import Entries
from connectors.kafka.admin import TopicAdmin, TopicsError
from connectors.kafka.snapshot import read_topic
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KafkaSettings
from schemas.states import MediaKind
from schemas.topics import USAGE
from schemas.usage import Counts

MOST_DAYS = 35
"""As long as the topic keeps a window."""

_BELIEVED_S = 10.0
_DAY = timedelta(days=1)


class UsageReader:
    """Follows the table's changelog for all tenants, reading only what is new, and answers from what it holds."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = asyncio.Lock()
        self._failure: str | None = None
        self._tried_at = float("-inf")
        self._admin: TopicAdmin | None = None
        self._busy = threading.Lock()  # a thread goes on when whoever waited for it was cancelled
        self._topic_id = ""
        self._places: dict[int, int] = {}
        self._entries = Entries()

    async def read(self, tenant_id: UUID, days: int) -> UsageOut:
        """Usage of the last `days` days, today's included.

        Raises `MedialaneError(broker_unavailable)`.
        """
        since = datetime.now(UTC).date() - (days - 1) * _DAY
        await self._refresh()
        shown = sorted((await asyncio.to_thread(self._days, str(tenant_id), since)).items())
        return UsageOut(
            since=since,
            total=UsageSums(**_sums(sum((counts for _, counts in shown), Counts()))),
            days=tuple(DayUsage(day=day, **_sums(counts)) for day, counts in shown),
        )

    async def _refresh(self) -> None:
        async with self._lock:
            # A failure is believed for as long: those who waited for it would only wait for the next one.
            if time.monotonic() - self._tried_at > _BELIEVED_S:
                try:
                    self._admin = self._admin or TopicAdmin(self._kafka, topics=(USAGE,))  # it connects at once
                    await asyncio.to_thread(self._follow, await self._admin.topic_id(USAGE))
                    self._failure = None
                except TopicsError as error:
                    self._failure = str(error)
                self._tried_at = time.monotonic()
        if self._failure is not None:
            raise MedialaneError(ErrorCode.BROKER_UNAVAILABLE, self._failure, retry_after_s=_BELIEVED_S)

    def _follow(self, topic_id: str) -> None:
        with self._busy:
            if topic_id != self._topic_id:  # places mean nothing across topics of the same name
                self._topic_id, self._places, self._entries = topic_id, {}, Entries()
            self._entries.forget_before(datetime.now(UTC).date() - MOST_DAYS * _DAY)
            self._entries.take(read_topic(self._kafka, USAGE.name(self._kafka.topic_prefix), self._places))

    def _days(self, tenant_id: str, since: date) -> dict[date, Counts]:
        with self._busy:
            return self._entries.by_day(tenant_id, since)


def _sums(counts: Counts) -> dict[str, Any]:
    return {
        "jobs_done": counts.jobs_done,
        "jobs_failed": counts.jobs_failed,
        "cpu_s": counts.cpu_s,
        "uploads": counts.uploads,
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
        "mean_wait_s": counts.wait_s / counts.waits if counts.waits else 0.0,
        "longest_wait_s": counts.longest_wait_s,
        "stages": tuple(
            StageUsage(
                stage=name, kind=_kind(name), jobs_done=jobs.jobs_done, jobs_failed=jobs.jobs_failed, cpu_s=jobs.cpu_s
            )
            for name, jobs in sorted(counts.stages.items())
        ),
    }


def _kind(stage: str) -> MediaKind | None:
    name = stage.partition(".")[0]
    return MediaKind(name) if name in set(MediaKind) else None  # a newer release may count stages of another
