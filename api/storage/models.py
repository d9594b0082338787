"""What presign is asked and answers, in the reference system's words, and what they say no word for."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from schemas.patterns import whole
from schemas.profiles import ACCEPTED_TYPES

CONTROLS = r"\u0000-\u001f\u007f-\u009f"
NO_CONTROLS = whole(f"[^{CONTROLS}]*")
"""Of texts that are shown to people.

All else may be in a file's name: phones put emoji into it that are several characters joined by invisible ones, marks
that combine, and marks of direction; browsers, a folder's files with their folders. Of an object's key it is a cleaned
part (`api.announcing.safe_name`).
"""

SHA256 = whole("[0-9a-f]{64}")
TYPES = ", ".join(ACCEPTED_TYPES)
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_CONTROLS)]

_NO_NUL = r"^[^\u0000]*$"  # lines and their ends are text there
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=whole("[A-Za-z0-9._-]+"))]
MetadataValue = Annotated[str, Meta(max_length=512, pattern=_NO_NUL)]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(
        max_length=20,
        description="The caller's own words about the asset, at most 16 KiB of JSON together",
        examples=[{"album": "2026"}],
    ),
]
Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
Tags = Annotated[list[Tag], Meta(max_length=64, description="Words to find assets by", examples=[["beach"]])]

ProfileNames = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]],
    Meta(
        min_length=1,
        max_length=64,
        description="Which of the tenant's profiles are made of it, one of the first stage at least; all, if left out",
        examples=[["thumbnail"]],
    ),
]


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
