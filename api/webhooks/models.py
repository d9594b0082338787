"""Webhook registrations as the API takes and shows them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.envelope import Moment
from schemas.events import EVENT_TYPES

ALL_EVENTS = "*"


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint to register."""

    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            description="http(s) address of the receiver",
            examples=["https://example.com/hooks/media"],
        ),
    ]
    events: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"enum": [*EVENT_TYPES, ALL_EVENTS]})]],
        Meta(
            min_length=1,
            max_length=64,
            description="Event types, or `*` for all",
            examples=[["asset.ready", "asset.failed"]],
        ),
    ]
    secret: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="Key of the signatures; made for you if left out. Of `whsec_` and the base64 of 24 to 64 "
                "bytes those bytes are the key, of any other text its UTF-8 bytes",
            ),
        ]
        | None
    ) = None


class EndpointOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registration; `disabledReason` says why nothing is sent to it any more."""

    id: UUID
    url: str
    events: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    created_at: Moment


class EndpointCreated(EndpointOut, frozen=True, kw_only=True, rename="camel"):
    """A new registration, with its secret: shown now and never again."""

    secret: Annotated[
        str,
        Meta(description="`whsec_` and the key of both signatures in base64, as Standard Webhooks libraries take it"),
    ]
