"""Headers that go on an answer from wherever they are known, errors included, and those that go on every answer.

And how a request's `Authorization` is read.
"""

from collections.abc import Iterable
from typing import Any

_KEY = "medialane_headers"

SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),  # browsers heed it over TLS only
)
PRIVATE: tuple[tuple[bytes, bytes], ...] = (
    # Answers hold signed addresses and, once, secrets: they belong into no cache.
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


def add_headers(scope: Any, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Put headers on the answer of the request with this ASGI scope, each instead of an earlier one of its name."""
    state = scope.setdefault("state", {})
    state[_KEY] = [*(dict(state.get(_KEY, ())) | dict(headers)).items()]


def headers_of(scope: Any) -> list[tuple[bytes, bytes]]:
    """What `add_headers` put there, and what every answer carries."""
    fixed = [*SECURITY, *(PRIVATE if str(scope.get("path", "")).startswith("/api/") else ())]
    return [*fixed, *scope.get("state", {}).get(_KEY, ())]


def bearer_of(header: str | None) -> str:
    """The token of an `Authorization: Bearer` header; empty if there is none."""
    kind, _, token = (header or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
