"""Reading the headers of Kafka records."""

from collections.abc import Iterable

from schemas.records import HEADER_TRACEPARENT

Headers = Iterable[tuple[str, bytes | None]]


def header_text(headers: Headers | None, name: str) -> str | None:
    """The last header of that name as text; None if there is none or it is no UTF-8."""
    found: bytes | None = None
    for key, value in headers or ():
        if key == name:
            found = value
    if found is None:
        return None
    try:
        return bytes(found).decode()
    except UnicodeDecodeError:
        return None


def header_traceparent(headers: Headers | None) -> str | None:
    """The `traceparent` that the record carries."""
    return header_text(headers, HEADER_TRACEPARENT)
