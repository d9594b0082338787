"""CORS, per tenant: which origins' pages may call the API, and read its answers, is on the tenant's row.

Signed addresses are for whoever has them, so for every page; their answers say so to everybody, since a cache may keep
what one page was told for another.

A preflight carries no key, so it passes if any tenant names the origin; the answer itself is then shown to pages of
the caller's own tenant's origins only. No cookies are used, so a page can do nothing that it has no key for.
"""

import re
import time
from typing import TYPE_CHECKING

import sqlalchemy as sa
from litestar.enums import ScopeType

from api.own_address import MEDIA_PREFIX
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.database import Database
from schemas.errors import MedialaneError

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

EVERY_ORIGIN = "*"

_KNOWN_S = 5.0
_MOST = 1000
_IS_KNOWN = sa.text("SELECT is_known_origin(:origin)")
_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,500}")
_EXPOSED = b"Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, traceparent, X-Trace-Id"
_FOR_ALL = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Accept-Ranges, Content-Length, Content-Range, ETag, X-Trace-Id"),
]
_PREFLIGHT_FOR_ALL = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
]


class Browsers:
    """An ASGI application that pages of other origins may call."""

    def __init__(self, app: "ASGIApp", database: Database) -> None:
        self._app = app
        self._database = database
        self._known: dict[str, tuple[float, bool]] = {}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        origin = _header(scope, b"origin") if scope["type"] == ScopeType.HTTP else None
        if scope["type"] == ScopeType.HTTP and scope["path"].startswith(f"{MEDIA_PREFIX}/"):
            await self._signed(scope, receive, send)
        elif scope["type"] != ScopeType.HTTP or origin is None:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method") is not None:
            await self._preflight(scope, origin, send)
        else:
            await self._actual(scope, origin, receive, send)

    async def _signed(self, scope: "HTTPScope", receive: "Receive", send: "Send") -> None:
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": [*_FOR_ALL, *_PREFLIGHT_FOR_ALL]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

        async def send_to_all(message: "Message") -> None:
            if message["type"] == "http.response.start":
                refused = [(b"cache-control", b"no-store")] if message["status"] >= 400 else []
                message["headers"] = [*message.get("headers", ()), *_FOR_ALL, *refused]
            await send(message)

        await self._app(scope, receive, send_to_all)

    async def _preflight(self, scope: "HTTPScope", origin: bytes, send: "Send") -> None:
        headers = [(b"vary", b"Origin, Access-Control-Request-Headers")]
        if await self._is_known(origin):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
                (b"access-control-max-age", b"600"),
            ]
            wanted = _header(scope, b"access-control-request-headers")
            if wanted is not None and _NAMES.fullmatch(wanted):
                headers.append((b"access-control-allow-headers", wanted))
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _actual(self, scope: "HTTPScope", origin: bytes, receive: "Receive", send: "Send") -> None:
        async def send_with_origin(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = [(b"vary", b"Origin")]
                if await self._may_read(scope.get("user"), origin):
                    headers += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_origin)

    async def _may_read(self, user: object, origin: bytes) -> bool:
        if isinstance(user, Principal):
            return not user.origins.isdisjoint({EVERY_ORIGIN, origin.decode("latin-1")})
        # Refused before it was known who calls: the page may read why.
        return await self._is_known(origin)

    async def _is_known(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        until, known = self._known.get(text, (0.0, False))
        if until > time.monotonic():
            return known
        try:
            async with self._database.transaction() as connection:
                known = bool((await connection.execute(_IS_KNOWN, {"origin": text})).scalar_one())
        except MedialaneError:
            return False
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[text] = (time.monotonic() + _KNOWN_S, known)
        return known


def _header(scope: "Scope", wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)
