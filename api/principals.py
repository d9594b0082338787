"""Who makes a request: an API key or a JWT from the Authorization header, remembered for a moment."""

import hashlib
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from litestar import HttpMethod, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard

from api.headers import add_headers, bearer_of
from api.keys.last_used import LastUsed
from api.limits.rates import RateLimiter
from api.tokens import TokenReader
from connectors.postgres.accounts.keys import Principal, authenticate, principal_of_token
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.scopes import Scope, permits

REMEMBERED_S = 2.0
"""How long a process believes what it knows of a key: a revocation takes effect within this bound."""

_MOST = 10_000

TenantRequest = Request[Principal, str, State]
"""A request that the guard has let through."""

SCOPE_OPT = "scope"
"""The key of a handler's `opt` that names the scope it needs."""


class Authenticator:
    """Finds the principal of an `Authorization: Bearer mp_<prefix>_<secret>` header, or of one with a JWT."""

    def __init__(self, database: Database, tokens: TokenReader | None = None) -> None:
        self._database = database
        self._tokens = tokens
        # By the key's hash: the keys themselves stay nowhere.
        self._known: dict[bytes, tuple[float, Principal]] = {}

    async def principal(self, header: str | None) -> Principal:
        """Who this is. Raises `MedialaneError(unauthenticated)`, without telling what is wrong with a key."""
        text = bearer_of(header)
        if not text:
            detail = "Send an API key: `Authorization: Bearer mp_...`."
            raise MedialaneError(ErrorCode.UNAUTHENTICATED, detail)
        digest = hashlib.sha256(text.encode()).digest()
        now = datetime.now(UTC)
        until, found = self._known.get(digest, (0.0, None))
        if found is None or until < time.monotonic():
            found = await self._look_up(digest, text, now)
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            raise MedialaneError(ErrorCode.UNAUTHENTICATED)
        return found

    async def admits(self, header: str | None) -> bool:
        """Whether this would be let in: for what goes on after a request was."""
        try:
            await self.principal(header)
        except MedialaneError as error:
            if error.code is not ErrorCode.UNAUTHENTICATED:
                raise
            return False
        return True

    async def _look_up(self, digest: bytes, text: str, now: datetime) -> Principal | None:
        found = await self._of_key(text, now) if text.startswith("mp_") else await self._of_token(text)
        if found is None:
            self._known.pop(digest, None)
            return None
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = (time.monotonic() + REMEMBERED_S, found)
        return found

    async def _of_key(self, text: str, now: datetime) -> Principal | None:
        async with self._database.transaction() as connection:
            return await authenticate(connection, text, now=now)

    async def _of_token(self, text: str) -> Principal | None:
        claims = await self._tokens.read(text) if self._tokens is not None else None
        if claims is None:
            return None
        async with self._database.transaction() as connection:
            return await principal_of_token(
                connection,
                claims.slug,
                actor=f"token:{claims.subject}",
                scopes=claims.scopes,
                expires_at=claims.expires_at,
            )


def guard(authenticator: Authenticator, limiter: RateLimiter, last_used: LastUsed) -> Guard:
    """A Litestar guard that lets a request through, as `request.user`, if its key has the handler's scope.

    A function and not a bound method: Litestar copies routers deeply, and a pool of connections cannot be copied.
    """

    async def check(connection: "ASGIConnection[Any, Any, Any, Any]", handler: BaseRouteHandler) -> None:
        if connection.scope.get("method") == HttpMethod.OPTIONS:
            return  # Litestar answers by itself, with methods only
        principal = await authenticator.principal(connection.headers.get("authorization"))
        connection.scope["user"] = principal
        if principal.key_id is not None:
            last_used.note(principal.key_id)
        standing = await limiter.take(principal)
        if standing is not None:
            add_headers(connection.scope, standing.headers())
            if standing.wait_s > 0:
                raise standing.refusal
        needed = handler.opt.get(SCOPE_OPT)
        if not isinstance(needed, Scope):
            raise TypeError(f"{handler} names no scope: nobody may call it")
        if not permits(principal.scopes, needed):
            raise MedialaneError(ErrorCode.FORBIDDEN, f"You have no scope {needed.value}.")

    return check


def tenant_of(request: TenantRequest) -> UUID:
    """The tenant that a request is confined to."""
    return request.user.tenant_id
