"""JWTs beside API keys: who a token speaks for, once everything about it was checked."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

import jwt

from connectors.jwks import KeySet
from schemas.scopes import Scope
from schemas.settings import AuthSettings, SettingsError

_LONGEST = 8192


class Claims(NamedTuple):
    """What a good token says."""

    slug: str
    subject: str
    scopes: frozenset[str]
    expires_at: datetime


class TokenReader:
    """Checks signature, times, issuer and audience of tokens."""

    def __init__(self, keys: KeySet, *, issuer: str, audience: str, tenant_claim: str, leeway_s: float) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._leeway = timedelta(seconds=leeway_s)

    @classmethod
    def of(cls, settings: AuthSettings) -> Self | None:
        """From settings; None if tokens are not taken. Raises `SettingsError`."""
        if settings.jwks is None:
            return None
        if settings.issuer is None or settings.audience is None:
            # Without these, a token that the same issuer made for another service would be let in.
            raise SettingsError(["MEDIALANE_AUTH_JWKS needs MEDIALANE_AUTH_ISSUER and MEDIALANE_AUTH_AUDIENCE"])
        return cls(
            KeySet(settings.jwks, ttl_s=settings.jwks_ttl_s),
            issuer=settings.issuer,
            audience=settings.audience,
            tenant_claim=settings.tenant_claim,
            leeway_s=settings.leeway_s,
        )

    async def read(self, text: str) -> Claims | None:
        """The claims of a good token, None for any other; which check failed stays untold."""
        if len(text) > _LONGEST:
            return None
        try:
            found = await self._keys.find(jwt.get_unverified_header(text).get("kid"))
            if found is None:
                return None
            claims = jwt.decode(
                text,
                found.key,
                algorithms=[found.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud", "sub", self._tenant_claim]},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC) + self._leeway
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, OSError):
            # The last two: an `exp` that no calendar has, such as one in milliseconds.
            return None
        slug, granted = claims[self._tenant_claim], claims.get("scope", "")
        if not isinstance(slug, str) or not isinstance(granted, str):
            return None
        scopes = frozenset(granted.split()) & {scope.value for scope in Scope}
        # Rows name whoever made them, and not every character can stand in one.
        subject = "".join(letter if letter.isprintable() else "?" for letter in str(claims["sub"])[:255])
        return Claims(slug, subject, scopes, expires_at)
