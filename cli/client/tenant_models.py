"""What the API answers about the caller's own tenant, as frozen structs."""

from datetime import date, datetime
from uuid import UUID

import msgspec


class Key(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An API key; `key` is there only in the answer that made it, and `replaces` only among the others."""

    id: UUID
    prefix: str
    scopes: list[str]
    created_at: datetime
    name: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    replaces: UUID | None = None
    key: str | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A webhook endpoint; `secret` (`whsec_...`) is there only in the answer to its registration or rotation.

    Nothing is sent to one that is not enabled; `disabled_reason` says why, if it was not its tenant. Deliveries are
    signed with the secret before, too, until `old_secret_until`.
    """

    id: UUID
    url: str
    events: list[str]
    enabled: bool
    created_at: datetime
    description: str = ""
    disabled_reason: str | None = None
    old_secret_until: datetime | None = None
    secret: str | None = None


class SentTest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A test that is on its way to an endpoint; `event_id` is its `webhook-id`."""

    delivery_id: UUID
    event_id: UUID
    type: str


class OwnProfile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A picture profile of the tenant's own; sizes are pixels, `focus` shares of width and height or a word."""

    name: str
    format: str
    fit: str
    width: int | None = None
    height: int | None = None
    focus: str | tuple[float, float] = "attention"
    quality: int = 80
    target_bytes: int | None = None
    animated: bool = False


class Profile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is made of an upload under this name, and in which stage."""

    name: str
    version: int
    stage: str
    content_type: str
    fit: str
    width: int | None
    height: int | None
    quality: int | None = None
    target_bytes: int | None = None
    animated: bool = False


class Profiles(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tenant's choice (`include`, `own`), all that it comes to, and the service's sets by name."""

    include: list[str]
    own: list[OwnProfile]
    profiles: list[Profile]
    sets: dict[str, list[str]]


class StageUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the jobs of one stage used; CPU in seconds."""

    stage: str
    kind: str | None
    jobs_done: int
    jobs_failed: int
    cpu_s: float


class UsageSums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sums over some time; waits are from a job's making to its start, seconds."""

    jobs_done: int
    jobs_failed: int
    cpu_s: float
    uploads: int
    bytes_in: int
    bytes_out: int
    mean_wait_s: float
    longest_wait_s: float
    stages: list[StageUsage]


class DayUsage(UsageSums, frozen=True, kw_only=True, rename="camel"):
    """The sums of one day (UTC)."""

    day: date


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a tenant used since a day, in all and by day."""

    since: date
    total: UsageSums
    days: list[DayUsage]
