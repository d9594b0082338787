"""What presign is asked and answers, in the reference system's words."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta


class PresignRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An upload that is about to come."""

    file_name: Annotated[
        str, Meta(min_length=1, max_length=255, description="The file's name, for people", examples=["beach.jpg"])
    ]
    content_type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="What the bytes are; the PUT has to carry the same",
            examples=["image/jpeg"],
        ),
    ]
    size: Annotated[
        int, Meta(description="How many bytes exactly", extra_json_schema={"minimum": 1}, examples=[2_482_113])
    ]


class PresignedUpload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where to send the bytes."""

    upload_url: Annotated[str, Meta(description="Signed address; takes exactly the announced type and length")]
    asset_id: UUID
    method: str
    headers: Annotated[dict[str, str], Meta(description="Headers that the request has to carry")]
    object_path: Annotated[str, Meta(description="The object's key in the bucket")]
    public_url: Annotated[str, Meta(description="The object's address without a signature")]
    expires_at: Annotated[int, Meta(description="When the address ends, Unix seconds")]
