"""Assets as the API shows them; sizes in bytes, pixels and seconds, times in UTC."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.cursors import NextCursor
from api.envelope import Moment
from api.fields import Metadata, Tags
from schemas.details import Details
from schemas.errors import ErrorCode
from schemas.events import WIDE, Variant
from schemas.states import AssetState, JobState, MediaKind, Stage


def one_of(words: type[StrEnum]) -> Meta:
    """What an open set is documented as: a release to come, which may write the same rows already, has others, too."""
    return Meta(
        description=f"{', '.join(f'`{word}`' for word in words)}; more may come", examples=[next(iter(words)).value]
    )


if TYPE_CHECKING:
    DetailsOut = Details
else:
    # The same fields in the API's spelling.
    DetailsOut = msgspec.defstruct(
        "DetailsOut",
        [(field.name, field.type, field.default) for field in msgspec.structs.fields(Details)],
        frozen=True,
        kw_only=True,
        omit_defaults=True,
        rename="camel",
        namespace={"__doc__": "What the source is, as far as it is known."},
    )


class VariantOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A finished variant."""

    profile: str
    content_type: str
    width: Annotated[int, Meta(description=WIDE)]
    height: Annotated[int, Meta(description=WIDE)]
    size: int
    sha256: str
    url: Annotated[
        str,
        Meta(
            description="Signed address of the bytes, and of all that a playlist names; needs no key, ends at "
            "`urlExpiresAt`"
        ),
    ]
    url_expires_at: Moment
    duration_s: float | None = None


class PictureOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A picture that is there in several formats."""

    name: str
    content_types: Annotated[tuple[str, ...], Meta(description="The smallest first")]
    url: Annotated[
        str, Meta(description="Signed address that answers in the best format that `Accept` allows; needs no key")
    ]
    url_expires_at: Moment


def variant_out(variant: Variant, url: str, expires_at: datetime) -> VariantOut:
    """A variant as the API shows it: without its key, with an address."""
    fields = msgspec.structs.asdict(variant)
    del fields["object_key"]
    return VariantOut(**fields, url=url, url_expires_at=expires_at)


class TimelineOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened to the asset."""

    seq: Annotated[int, Meta(description="Its place among the asset's events, from 1, without gaps")]
    type: str
    subject: Annotated[str, Meta(description="What it is about: a profile, a stage, or nothing")]
    generation: int
    time: Moment


class StepOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A step of a job's work."""

    name: str
    started_at: Moment
    seconds: float


class JobOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job of the asset; `waitingFor` says why it waits, if it does."""

    id: UUID
    generation: int
    stage: Annotated[str, one_of(Stage)]
    state: Annotated[str, one_of(JobState)]
    waiting_for: str | None
    attempts: Annotated[int, Meta(description="Attempts that ended, as `job.done` and `job.failed` tell them")]
    progress: Annotated[int, Meta(description="Per cent")]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    cpu_s: float | None
    steps: tuple[StepOut, ...]


class AssetSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An asset in a list."""

    id: UUID
    state: Annotated[str, one_of(AssetState)]
    generation: Annotated[int, Meta(description="1 for the first processing, one more per replay")]
    kind: Annotated[str, one_of(MediaKind)]
    file_name: str
    content_type: str
    size: int
    width: Annotated[int | None, Meta(description=f"{WIDE}; null until it is known")]
    height: Annotated[int | None, Meta(description=f"{WIDE}; null until it is known")]
    duration_s: float | None
    details: DetailsOut | None
    error_code: Annotated[str | None, Meta(description="Why it failed; more codes may come")]
    error_detail: str | None
    created_at: Moment
    uploaded_at: Moment | None
    finished_at: Moment | None
    metadata: dict[str, str]
    tags: tuple[str, ...]
    profiles: Annotated[tuple[str, ...] | None, Meta(description="Named by the upload; null: all of the tenant's")]
    progress: Annotated[int, Meta(description="Per cent of the primary job, in steps of ten; 100 when it is done")]


class AssetOut(AssetSummary, frozen=True, kw_only=True, rename="camel"):
    """Everything about an asset."""

    created_by: Annotated[
        str | None,
        Meta(description="Who announced it: `key:` and a key's prefix, `token:` and a subject; null where it is old"),
    ]
    variants: tuple[VariantOut, ...]
    pictures: tuple[PictureOut, ...]
    jobs: tuple[JobOut, ...]
    timeline: tuple[TimelineOut, ...]


class AssetListed(AssetSummary, frozen=True, kw_only=True, rename="camel"):
    """An asset in a list; with what was asked to be included."""

    variants: Annotated[
        tuple[VariantOut, ...] | msgspec.UnsetType, Meta(description="With `include=variants` only")
    ] = msgspec.UNSET
    pictures: Annotated[
        tuple[PictureOut, ...] | msgspec.UnsetType, Meta(description="With `include=variants` only")
    ] = msgspec.UNSET


class AssetPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Assets, newest first."""

    items: tuple[AssetListed, ...]
    next_cursor: NextCursor


class AssetChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to change; what is left out stays."""

    metadata: Metadata | None = None
    tags: Tags | None = None


class CompleteMany(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Uploads whose bytes are there."""

    asset_ids: Annotated[list[UUID], Meta(min_length=1, max_length=100)]


class CompletedAsset(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What became of one of them; `code` and `message` say why, if it was refused."""

    asset_id: UUID
    status: Literal["success", "error"]
    code: ErrorCode | None = None
    message: str | None = None


class UploadAgain(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the bytes will be sent."""

    method: Annotated[Literal["PUT", "POST"], Meta(description="POST: for an HTML form")] = "PUT"
