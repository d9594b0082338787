"""API keys: `mp_<prefix>_<secret>`. The prefix finds the row; of the secret only its SHA-256 is kept.

The secret has 192 random bits, so a plain hash is enough: there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.scopes import Scope

_FORM = re.compile(r"mp_([a-z0-9]{4,32})_([A-Za-z0-9_-]{16,128})")

_INSERT = sa.text("""
    INSERT INTO api_keys (id, tenant_id, prefix, secret_hash, name, scopes, expires_at)
    VALUES (:id, :tenant_id, :prefix, :secret_hash, :name, :scopes, :expires_at)
""")
_FIND = sa.text("SELECT * FROM find_api_key(:prefix)")
_LIST = sa.text("""
    SELECT id, prefix, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM api_keys
    WHERE tenant_id = :tenant_id ORDER BY created_at
""")
_REVOKE = sa.text("""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = :prefix RETURNING id
""")


class MintedKey(NamedTuple):
    """A new key; `text` is in no place but this."""

    id: UUID
    prefix: str
    text: str


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed."""

    id: UUID
    prefix: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request: a tenant, by one of its keys, which expires at some time or never."""

    key_id: UUID
    tenant_id: UUID
    slug: str
    scopes: frozenset[str]
    expires_at: datetime | None


async def mint_key(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    name: str = "",
    scopes: Sequence[Scope],
    expires_at: datetime | None = None,
) -> MintedKey:
    """Make a key; its text cannot be had again."""
    prefix, secret = secrets.token_hex(6), secrets.token_hex(24)
    key_id = uuid7()
    await connection.execute(
        _INSERT,
        {
            "id": key_id, "tenant_id": tenant_id, "prefix": prefix, "secret_hash": _hash(secret), "name": name,
            "scopes": [scope.value for scope in scopes], "expires_at": expires_at,
        },
    )  # fmt: skip
    return MintedKey(key_id, prefix, f"mp_{prefix}_{secret}")


async def authenticate(connection: AsyncConnection, text: str, *, now: datetime) -> Principal | None:
    """Whose key this is; None if it is malformed, unknown, revoked or expired (which of these stays untold)."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    row = (await connection.execute(_FIND, {"prefix": form[1]})).one_or_none()
    stored = bytes(row.secret_hash) if row is not None else bytes(32)
    matches = hmac.compare_digest(_hash(form[2]), stored)
    if row is None or not matches or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    return Principal(
        key_id=row.id, tenant_id=row.tenant_id, slug=row.slug, scopes=frozenset(row.scopes), expires_at=row.expires_at
    )


async def list_keys(connection: AsyncConnection, tenant_id: UUID) -> tuple[KeyInfo, ...]:
    """A tenant's keys, oldest first, without their secrets."""
    rows = (await connection.execute(_LIST, {"tenant_id": tenant_id})).mappings()
    return tuple(KeyInfo(**(row | {"scopes": tuple(row["scopes"])})) for row in map(dict, rows))


async def revoke_key(connection: AsyncConnection, prefix: str) -> None:
    """Make a key useless, for good; processes that hold it in a cache follow within its bound.

    Raises `MedialaneError(not_found)`.
    """
    if (await connection.execute(_REVOKE, {"prefix": prefix})).one_or_none() is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no API key with the prefix {prefix!r}.", field="prefix")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
