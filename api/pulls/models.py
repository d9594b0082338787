"""What a pull is asked and answers."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.fields import SHA256, TYPES, FileName, Metadata, ProfileNames, Tags


class PullRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file to fetch."""

    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            description="http(s) address of the file, which everybody may read",
            examples=["https://example.com/beach.jpg"],
        ),
    ]
    file_name: Annotated[FileName, Meta(description="The address's last part, if left out")] | None = None
    content_type: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=100,
                description=f"What the file's server says, if left out. One of: {TYPES}",
            ),
        ]
        | None
    ) = None
    sha256: Annotated[str, Meta(pattern=SHA256, description="The bytes' SHA-256, hex: others are refused")] | None = (
        None
    )
    metadata: Metadata = {}
    tags: Tags = []
    profiles: ProfileNames | None = None


class PulledAsset(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The asset that was made; its processing has begun."""

    asset_id: UUID
    file_name: str
    content_type: str
    size: int
    sha256: str
