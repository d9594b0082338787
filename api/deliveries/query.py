"""Query parameters of delivery lists, and their cursors: an event's id in words that clients do not read."""

import base64
import binascii
from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from schemas.errors import ErrorCode, MedialaneError
from schemas.patterns import whole
from schemas.states import DeliveryState

MAX_PAGE = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Most deliveries of the page")]
Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]
State = Annotated[DeliveryState | None, QueryParameter(name="state", description="Only deliveries in this state")]
EventType = Annotated[
    str | None,
    QueryParameter(
        name="eventType",
        max_length=64,
        pattern=whole(r"[a-z_]+(\.[a-z_]+)*"),
        description="Only of events of this type, such as `asset.ready`",
    ),
]
Asset = Annotated[UUID | None, QueryParameter(name="assetId", description="Only of events about this asset")]


def encode_cursor(event_id: UUID) -> str:
    """An event's id as text that fits into an address."""
    return base64.urlsafe_b64encode(event_id.bytes).decode()


def decode_cursor(text: str | None) -> UUID | None:
    """The event's id in a cursor, if there is one. Raises `MedialaneError(invalid_request)` for what is none."""
    try:
        return None if text is None else UUID(bytes=base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        detail = "This is no cursor of ours: pass `nextCursor` back as it came."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="cursor") from error
