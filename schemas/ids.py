"""Identifiers: version 7 UUIDs (RFC 9562), so that rows made together lie together in an index."""

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def uuid7() -> UUID:
    """A new time-ordered UUID: 48 bits of Unix milliseconds, then 74 random bits."""
    millis = time.time_ns() // 1_000_000
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def first_uuid7(moment: datetime) -> UUID:
    """What no id that was made at this time (its millisecond) or later is below."""
    return UUID(int=max(0, (moment - _EPOCH) // _MILLISECOND) << 80)
