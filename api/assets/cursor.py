"""Cursors of asset lists: a position in words that clients pass back and do not read."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_cursor(position: Position) -> str:
    """A position as text that fits into an address: microseconds since 1970 and the asset's id."""
    micros = (position.created_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(micros.to_bytes(8, "big") + position.id.bytes).decode()


def decode_cursor(text: str) -> Position:
    """The position in a cursor. Raises `MedialaneError(invalid_request)` for what is none."""
    try:
        raw = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        micros, asset_id = int.from_bytes(raw[:8], "big"), UUID(bytes=raw[8:])
        created_at = _EPOCH + micros * _MICROSECOND
    except (ValueError, OverflowError, binascii.Error) as error:
        detail = "This is no cursor of ours: pass `nextCursor` back as it came."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="cursor") from error
    return Position(created_at, asset_id)
