"""Usage as the API shows it: bytes, CPU seconds, days in UTC."""

from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.states import MediaKind


class StageUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The jobs of one stage."""

    stage: Annotated[str, Meta(examples=["image.primary"])]
    kind: MediaKind | None
    jobs_done: int
    jobs_failed: int
    cpu_s: Annotated[float, Meta(description="CPU seconds of each job's last attempt")]


class UsageSums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sums over some time; `stages` says which jobs the seconds went to."""

    jobs_done: int
    jobs_failed: int
    cpu_s: Annotated[float, Meta(description="CPU seconds of each job's last attempt")]
    uploads: Annotated[int, Meta(description="Completed ones")]
    bytes_in: Annotated[int, Meta(description="Of completed uploads")]
    bytes_out: Annotated[int, Meta(description="Of variants")]
    mean_wait_s: Annotated[float, Meta(description="From a job's making to its start, seconds")]
    longest_wait_s: float
    stages: tuple[StageUsage, ...]


class DayUsage(UsageSums, frozen=True, kw_only=True, rename="camel"):
    """One day's; days without any are left out."""

    day: date


class UsageOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was used since the beginning of a day, in all and by day."""

    since: date
    total: UsageSums
    days: tuple[DayUsage, ...]
