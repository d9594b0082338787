"""Pages of lists: how many a page holds, and cursors, a place in words that clients pass back and do not read."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter
from msgspec import Meta

from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError

MAX_PAGE = 100

Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]

NextCursor = Annotated[str | None, Meta(description="Pass it as `cursor` for the next page; none: this is the last")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def position_cursor(position: Position) -> str:
    """A position as text that fits into an address: microseconds since 1970 and the id."""
    micros = (position.created_at - _EPOCH) // _MICROSECOND
    return _text(micros.to_bytes(8, "big") + position.id.bytes)


def position_in(cursor: str) -> Position:
    """The position in a cursor. Raises `MedialaneError(invalid_request)` for what is none."""
    try:
        raw = _bytes(cursor)
        return Position(_EPOCH + int.from_bytes(raw[:8], "big") * _MICROSECOND, UUID(bytes=raw[8:]))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise _is_none() from error


def id_cursor(last: UUID) -> str:
    """An id as text that fits into an address, where ids alone tell the order."""
    return _text(last.bytes)


def id_in(cursor: str) -> UUID:
    """The id in a cursor. Raises `MedialaneError(invalid_request)` for what is none."""
    try:
        return UUID(bytes=_bytes(cursor))
    except (ValueError, binascii.Error) as error:
        raise _is_none() from error


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode(), altchars=b"-_", validate=True)


def _is_none() -> MedialaneError:
    detail = "This is no cursor of ours: pass `nextCursor` back as it came."
    return MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="cursor")
