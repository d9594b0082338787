"""What Uppy's S3 multipart uploader sends and expects: no envelope, S3's capitals where it has them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.fields import TYPES, FileName, MetadataKey, MetadataValue, ProfileNames, Tags

MOST_PARTS = 10_000

PartNumber = Annotated[int, Meta(ge=1, le=MOST_PARTS)]


class MultipartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is about to come in parts. Its size is `size`, or `metadata.size`, where Uppy can put it."""

    filename: Annotated[FileName, Meta(examples=["film.mp4"])]
    type: Annotated[str, Meta(min_length=1, max_length=100, description=f"One of: {TYPES}", examples=["video/mp4"])]
    size: Annotated[int, Meta(ge=1, examples=[734_003_200])] | None = None
    metadata: Annotated[
        dict[MetadataKey, MetadataValue | int | float | bool | None],
        Meta(max_length=40, description="Kept with the asset, but for name, type and size"),
    ] = {}
    tags: Tags = []
    profiles: ProfileNames | None = None


class MultipartCreated(msgspec.Struct, frozen=True, kw_only=True):
    """`uploadId` is the asset's id; `key` says where the object will stand, and is ours to choose."""

    key: str
    uploadId: UUID  # noqa: N815 - Uppy's word


class SignedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Where to PUT a part; its answer's ETag is sent with complete."""

    url: str
    headers: dict[str, str]
    expires: Annotated[int, Meta(description="Seconds that the address holds")]


class SignedParts(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses by part number."""

    presignedUrls: dict[str, str]  # noqa: N815 - Uppy's word
    expires: int


class UploadedPart(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A part that the store has."""

    part_number: PartNumber
    size: int
    e_tag: Annotated[str, Meta(description="In quotes, as the store gave it")] = msgspec.field(name="ETag")


class DonePart(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A part as the client says that it was stored."""

    part_number: PartNumber
    e_tag: Annotated[str, Meta(min_length=1, max_length=100)] = msgspec.field(name="ETag")


class DoneParts(msgspec.Struct, frozen=True, kw_only=True):
    """Every part of the file, in any order."""

    parts: Annotated[list[DonePart], Meta(min_length=1, max_length=MOST_PARTS)]


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where the object stands (no permission to read it), and the asset that was made of it."""

    location: str
    assetId: UUID  # noqa: N815 - beside Uppy's words


class Nothing(msgspec.Struct, frozen=True):
    """Done; there is nothing to say."""
