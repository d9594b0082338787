"""Every event, one struct each, tagged with its type: the payloads of `media.events` and of webhooks.

Within an asset `seq` counts up by one per event in commit order. Change is additive only: new optional fields, new
types; golden payloads of every released shape stay in the tests.
"""

import typing
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta

from schemas.details import Details, Text
from schemas.states import MediaKind, Stage

CODE = "Why; docs/api.md lists the codes, and more may come"
WIDE = "Upright pixels; 0 for sound"
UNSAID = "null in older events, and where there was no room for it: read the asset"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A finished variant as events and the API show it; sizes in pixels, bytes and seconds."""

    profile: str
    content_type: str
    width: Annotated[int, Meta(description=WIDE)]
    height: Annotated[int, Meta(description=WIDE)]
    size: int
    sha256: str
    object_key: str
    duration_s: float | None = None


class Part(msgspec.Struct, frozen=True):
    """An object that a variant's own one names: `name` in the same folder, size in bytes, sha256 in hex."""

    name: Text
    content_type: Text
    size: int
    sha256: Text


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every event carries."""

    event_type: ClassVar[str]
    doc: ClassVar[str]

    id: Annotated[
        UUID, Meta(description="Event id; the same in Kafka (`ce_id`) and on every webhook attempt (`webhook-id`)")
    ]
    time: Annotated[
        datetime, Meta(description="When the fact was committed, UTC", extra_json_schema={"format": "date-time"})
    ]
    tenant_id: UUID
    asset_id: UUID
    generation: Annotated[int, Meta(description="1 for the first processing, one more per replay", ge=1)]
    seq: Annotated[int, Meta(description="Position among the asset's events, from 1, without gaps", ge=1)]

    @property
    def subject(self) -> str:
        """What tells this event apart from others of its type in one generation of an asset."""
        return ""


class AssetCreated(Event, frozen=True, kw_only=True, tag="asset.created"):
    event_type: ClassVar[str] = "asset.created"
    doc: ClassVar[str] = "An upload was presigned."

    file_name: str
    content_type: str
    size: int


class AssetUploaded(Event, frozen=True, kw_only=True, tag="asset.uploaded"):
    event_type: ClassVar[str] = "asset.uploaded"
    doc: ClassVar[str] = "The upload was completed and checked."

    size: int
    etag: str


class AssetEnd(Event, frozen=True, kw_only=True):
    """What the events that end an asset carry beside: the caller's own words, as they were at that moment."""

    event_type: ClassVar[str]
    doc: ClassVar[str]

    file_name: Annotated[str | None, Meta(description=f"As the upload named it; {UNSAID}")] = None
    metadata: Annotated[dict[str, str] | None, Meta(description=f"The asset's metadata; {UNSAID}")] = None
    tags: Annotated[tuple[str, ...] | None, Meta(description=f"The asset's tags; {UNSAID}")] = None


class AssetReady(AssetEnd, frozen=True, kw_only=True, tag="asset.ready"):
    event_type: ClassVar[str] = "asset.ready"
    doc: ClassVar[str] = "Every variant of the primary stage is there."

    kind: MediaKind
    width: Annotated[int, Meta(description=WIDE)]
    height: Annotated[int, Meta(description=WIDE)]
    variants: tuple[Variant, ...]
    duration_s: float | None = None
    details: Details | None = None


class AssetFailed(AssetEnd, frozen=True, kw_only=True, tag="asset.failed"):
    event_type: ClassVar[str] = "asset.failed"
    doc: ClassVar[str] = "The asset was given up; `code` says why."

    code: Annotated[str, Meta(description=CODE)]
    detail: str


class AssetReopened(Event, frozen=True, kw_only=True, tag="asset.reopened"):
    event_type: ClassVar[str] = "asset.reopened"
    doc: ClassVar[str] = "A replay opened a new generation of the asset."

    reason: str


class AssetCancelled(Event, frozen=True, kw_only=True, tag="asset.cancelled"):
    event_type: ClassVar[str] = "asset.cancelled"
    doc: ClassVar[str] = "The asset's work was stopped before it ended; what was made until then stays."


class AssetDeleted(Event, frozen=True, kw_only=True, tag="asset.deleted"):
    event_type: ClassVar[str] = "asset.deleted"
    doc: ClassVar[str] = "The asset was deleted; its objects are removed as soon as nothing refers to them."


class JobEvent(Event, frozen=True, kw_only=True):
    """What events of jobs carry beside."""

    event_type: ClassVar[str]
    doc: ClassVar[str]

    job_id: UUID
    stage: Stage

    @property
    def subject(self) -> str:
        """The stage: one event of a type per stage and generation."""
        return self.stage.value


class JobStarting(JobEvent, frozen=True, kw_only=True, tag="job.starting"):
    event_type: ClassVar[str] = "job.starting"
    doc: ClassVar[str] = "A job was made; it waits for its turn."


class JobStarted(JobEvent, frozen=True, kw_only=True, tag="job.started"):
    event_type: ClassVar[str] = "job.started"
    doc: ClassVar[str] = "A worker claimed the job for the first time."

    wait_s: Annotated[float | None, Meta(description="Seconds since the job was made")] = None


class JobDone(JobEvent, frozen=True, kw_only=True, tag="job.done"):
    event_type: ClassVar[str] = "job.done"
    doc: ClassVar[str] = "The job finished."

    attempts: Annotated[int, Meta(description="Attempts that failed, and this one")]
    cpu_s: float
    reused: Annotated[bool, Meta(description="The variants were there already, made of the same bytes")] = False


class JobFailed(JobEvent, frozen=True, kw_only=True, tag="job.failed"):
    event_type: ClassVar[str] = "job.failed"
    doc: ClassVar[str] = "The job was given up."

    code: Annotated[str, Meta(description=CODE)]
    detail: str
    attempts: Annotated[int, Meta(description="Attempts that failed; lost workers are not among them")]
    cpu_s: Annotated[float, Meta(description="CPU seconds of the last attempt")] = 0.0


class JobProgress(JobEvent, frozen=True, kw_only=True, tag="job.progress"):
    event_type: ClassVar[str] = "job.progress"
    doc: ClassVar[str] = "A job came further; told at most every other second and once per step of ten per cent."

    percent: Annotated[int, Meta(description="The share that is done; it never goes back", ge=0, le=100)]

    @property
    def subject(self) -> str:
        """Stage and step: a retry tells no step again."""
        return f"{self.stage.value}:{self.percent}"


class VariantReady(Event, frozen=True, kw_only=True, tag="variant.ready"):
    event_type: ClassVar[str] = "variant.ready"
    doc: ClassVar[str] = "One variant is stored and may be read."

    variant: Variant

    @property
    def subject(self) -> str:
        """The profile: one event per profile and generation."""
        return self.variant.profile


AnyEvent = (
    AssetCreated
    | AssetUploaded
    | AssetReady
    | AssetFailed
    | AssetReopened
    | AssetCancelled
    | AssetDeleted
    | JobStarting
    | JobStarted
    | JobProgress
    | JobDone
    | JobFailed
    | VariantReady
)

EVENT_TYPES: dict[str, type[Event]] = {cls.event_type: cls for cls in typing.get_args(AnyEvent)}

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode_event(event: Event) -> bytes:
    """The event's JSON text, as it stands in the outbox, in Kafka and in a webhook's body."""
    return _encoder.encode(event)


def decode_event(data: bytes | str) -> AnyEvent:
    """Read an event; raises `msgspec.ValidationError` on what is none (an unknown type among them)."""
    return _decoder.decode(data)
