"""Webhook registrations as the API takes and shows them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.envelope import Moment
from api.fields import NO_CONTROLS
from schemas.events import EVENT_TYPES

ALL_EVENTS = "*"


MOST_OVERLAP_S = 7 * 86_400

_Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        description="http(s) address of the receiver",
        examples=["https://example.com/hooks/media"],
    ),
]
_Type = Annotated[str, Meta(extra_json_schema={"enum": [*EVENT_TYPES]})]
_Events = Annotated[
    list[Annotated[str, Meta(extra_json_schema={"enum": [*EVENT_TYPES, ALL_EVENTS]})]],
    Meta(
        min_length=1,
        max_length=64,
        description="Event types, or `*` for all",
        examples=[["asset.ready", "asset.failed"]],
    ),
]
_Secret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        description="Key of the signatures; made for you if left out. Of `whsec_` and the base64 of 24 to 64 "
        "bytes those bytes are the key, of any other text its UTF-8 bytes",
    ),
]
_Description = Annotated[
    str, Meta(max_length=200, pattern=NO_CONTROLS, description="What it is for", examples=["orders, production"])
]


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint to register."""

    url: _Url
    events: _Events
    secret: _Secret | None = None
    description: _Description = ""


class EndpointChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to change; what is left out stays."""

    url: _Url | None = None
    events: _Events | None = None
    enabled: Annotated[
        bool | None,
        Meta(description="Off: what happens is not sent, and what waits is given up when it comes due"),
    ] = None
    description: _Description | None = None


class SecretRotation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a secret is followed by a new one."""

    overlap_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_OVERLAP_S,
            description="Seconds that deliveries are signed with the old secret, too; 0: it ends at once",
            examples=[86_400],
        ),
    ] = 86_400
    secret: _Secret | None = None


class TestWanted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to send for a test."""

    type: Annotated[
        _Type | None,
        Meta(description="Event type; if left out, the first that it is registered for (`asset.ready` for `*`)"),
    ] = None


class SentTest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A test that is on its way."""

    delivery_id: UUID
    event_id: Annotated[UUID, Meta(description="Its `webhook-id`")]
    type: str


class EndpointOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A registration; `disabledReason` says why nothing is sent to it any more, if it was not you who disabled it."""

    id: UUID
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str | None
    created_at: Moment
    old_secret_until: Annotated[
        Moment | None, Meta(description="Until then deliveries are signed with the secret before, too")
    ]


class EndpointCreated(EndpointOut, frozen=True, kw_only=True, rename="camel"):
    """A registration with its new secret: shown now and never again."""

    secret: Annotated[
        str,
        Meta(description="`whsec_` and the key of both signatures in base64, as Standard Webhooks libraries take it"),
    ]
