"""What presign is asked and answers, in the reference system's words, and what they say no word for."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.fields import SHA256, TYPES, FileName, Metadata, ProfileNames, Tags


class PresignRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An upload that is about to come."""

    file_name: Annotated[FileName, Meta(description="The file's name, for people", examples=["beach.jpg"])]
    content_type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description=f"What the bytes are; the PUT has to carry the same. One of: {TYPES}",
            examples=["image/jpeg"],
        ),
    ]
    size: Annotated[
        int, Meta(description="How many bytes exactly", extra_json_schema={"minimum": 1}, examples=[2_482_113])
    ]
    method: Annotated[
        Literal["PUT", "POST"], Meta(description="POST: for an HTML form, with `fields` to send before the file")
    ] = "PUT"
    sha256: (
        Annotated[
            str,
            Meta(
                pattern=SHA256,
                description="The bytes' SHA-256, hex: signed, so that nothing else can be uploaded",
                examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            ),
        ]
        | None
    ) = None
    metadata: Metadata = {}
    tags: Tags = []
    profiles: ProfileNames | None = None


class PresignedUpload(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where to send the bytes."""

    upload_url: Annotated[str, Meta(description="Signed address; takes exactly the announced type and length")]
    asset_id: UUID
    method: str
    headers: Annotated[dict[str, str], Meta(description="Headers that the request has to carry")]
    object_path: Annotated[str, Meta(description="The object's key in the bucket")]
    public_url: Annotated[
        str, Meta(description="The object's address without a signature: 403 at a private bucket. See `readOriginal`")
    ]
    expires_at: Annotated[int, Meta(description="When the address ends, Unix seconds")]
    fields: Annotated[dict[str, str] | None, Meta(description="Of a POST: form fields to send before `file`")] = None
