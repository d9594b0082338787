"""What the API answers about uploads and assets, as frozen structs.

Unknown members are ignored, so that a newer API may say more.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Presigned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where to send the bytes of a new asset; `expires_at` in Unix seconds."""

    asset_id: UUID
    upload_url: str
    method: str
    headers: dict[str, str]
    object_path: str
    public_url: str
    expires_at: int


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """That the upload was accepted, and the W3C traceparent whose trace the processing goes on in."""

    message: str
    traceparent: str | None


class Completion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one asset of many that were completed: `status` is success or error, which has a code."""

    asset_id: UUID
    status: str
    code: str | None = None
    message: str | None = None


class Pulled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An asset whose file the service has fetched; its processing has begun."""

    asset_id: UUID
    file_name: str
    content_type: str
    size: int
    sha256: str


class AssetVariant(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A finished variant: sizes in pixels and bytes, and a signed address with its end. Read it again for a new one."""

    profile: str
    content_type: str
    width: int
    height: int
    size: int
    sha256: str
    url: str
    url_expires_at: datetime
    duration_s: float | None = None


class AssetPicture(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A picture in several formats: its address answers in the best one that the Accept header allows."""

    name: str
    content_types: list[str]
    url: str
    url_expires_at: datetime


class AssetOriginal(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The upload itself: size in bytes, and a signed address that ends in a few minutes."""

    file_name: str
    content_type: str
    size: int
    url: str
    url_expires_at: datetime


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event of an asset: its number, its type, what it is about (a profile, a stage), when it was committed."""

    seq: int
    type: str
    generation: int
    time: datetime
    subject: str = ""


class JobStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A step of a job's work, in seconds."""

    name: str
    started_at: datetime
    seconds: float


class AssetJob(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job of an asset; `waiting_for` says why it waits, if it does, and `cpu_s` what it cost; `progress` in %."""

    id: UUID
    generation: int
    stage: str
    state: str
    attempts: int
    created_at: datetime
    progress: int = 0  # the release before does not tell it of a job
    waiting_for: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cpu_s: float | None = None
    steps: list[JobStep] = []


class Asset(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An asset; `state` is pending, uploaded, processing, ready, failed, cancelled or deleted.

    `kind` is image, video or audio; `generation` 1, and one more after each replay; pixels and seconds are those of the
    source, as far as they are known. `profiles` are those that its upload named; None: all of the tenant's.
    A page's items have nothing of `created_by` and what follows it, but variants and pictures if they were asked for.
    """

    id: UUID
    state: str
    generation: int
    kind: str
    file_name: str
    content_type: str
    size: int
    created_at: datetime
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    details: dict[str, Any] | None = None
    error_code: str | None = None
    error_detail: str | None = None
    uploaded_at: datetime | None = None
    finished_at: datetime | None = None
    metadata: dict[str, str] = {}
    tags: list[str] = []
    profiles: list[str] | None = None
    progress: int = 0
    created_by: str | None = None
    variants: list[AssetVariant] = []
    pictures: list[AssetPicture] = []
    jobs: list[AssetJob] = []
    timeline: list[TimelineEntry] = []


class AssetPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Assets, newest first; `next_cursor` is None on the last page."""

    items: list[Asset]
    next_cursor: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an asset; `data` is all that it says, by the names of its published schema."""

    id: UUID
    type: str
    time: datetime
    asset_id: UUID
    seq: int
    data: dict[str, Any]


class Multipart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An upload in parts that was begun; its id is the asset's."""

    key: str
    upload_id: UUID


class SignedParts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where to PUT parts, by their numbers."""

    presigned_urls: dict[int, str]


class StoredPart(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A part that the store has, bytes and entity tag."""

    part_number: int
    size: int
    e_tag: str = msgspec.field(name="ETag")
