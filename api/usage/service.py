"""A tenant's usage, from the changelog of the table that `medialane run usage` keeps (decision 21)."""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from api.usage.models import DayUsage, StageUsage, UsageOut, UsageSums
from connectors.kafka.admin import TopicsError
from connectors.kafka.snapshot import read_topic
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import KafkaSettings
from schemas.states import MediaKind
from schemas.topics import USAGE
from schemas.usage import Counts, by_day, read_changelog

MOST_DAYS = 35
"""As long as the topic keeps a window."""

_BELIEVED_S = 10.0
_DAY = timedelta(days=1)

_Days = dict[str, dict[date, Counts]]


class UsageReader:
    """Reads the whole table now and then, for all tenants, and answers from what it read."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = asyncio.Lock()
        self._days: _Days = {}
        self._failure: str | None = None
        self._tried_at = float("-inf")

    async def read(self, tenant_id: UUID, days: int) -> UsageOut:
        """Usage of the last `days` days, today's included.

        Raises `MedialaneError(broker_unavailable)`.
        """
        since = datetime.now(UTC).date() - (days - 1) * _DAY
        found = sorted((await self._table()).get(str(tenant_id), {}).items())
        shown = [(day, counts) for day, counts in found if day >= since]
        return UsageOut(
            since=since,
            total=UsageSums(**_sums(sum((counts for _, counts in shown), Counts()))),
            days=tuple(DayUsage(day=day, **_sums(counts)) for day, counts in shown),
        )

    async def _table(self) -> _Days:
        async with self._lock:
            # A failure is believed for as long: those who waited for it would only wait for the next one.
            if time.monotonic() - self._tried_at > _BELIEVED_S:
                try:
                    self._days, self._failure = await asyncio.to_thread(_read, self._kafka), None
                except TopicsError as error:
                    self._failure = str(error)
                self._tried_at = time.monotonic()
        if self._failure is not None:
            raise MedialaneError(ErrorCode.BROKER_UNAVAILABLE, self._failure, retry_after_s=_BELIEVED_S)
        return self._days


def _read(kafka: KafkaSettings) -> _Days:
    records = read_topic(kafka, USAGE.name(kafka.topic_prefix))
    return by_day(read_changelog(records), since=datetime.now(UTC).date() - MOST_DAYS * _DAY)


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
