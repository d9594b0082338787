"""Conditions and ranges of a request for bytes that are at hand (RFC 9110, 13 and 14)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_ONE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")
_TAG = re.compile(r'(?:W/)?("[^"]*")')


class Span(NamedTuple):
    """Bytes from `first` to `last`, both included."""

    first: int
    last: int


def is_known(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the caller has these bytes: If-None-Match names their entity tag (in quotes)."""
    wanted = headers.get("if-none-match", "")
    return wanted.strip() == "*" or etag in _TAG.findall(wanted)


def span_of(headers: Mapping[str, str], size: int, etag: str) -> Span | None:
    """The one range that was asked for; None: send all, as for several ranges, for what is no range of bytes, and for
    one of other bytes than these (If-Range).

    Raises `ValueError` if none of the bytes is in it.
    """
    found = _ONE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", etag) != etag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        begin, end = max(0, size - int(suffix)), size - 1
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < begin:
            return None
    if begin > end:
        raise ValueError(f"there are {size} bytes")
    return Span(begin, end)
