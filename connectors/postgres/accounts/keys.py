"""API keys: `mp_<prefix>_<secret>`. The prefix finds the row; of the secret only its SHA-256 is kept.

The secret has 192 random bits, so a plain hash is enough: there is nothing to guess.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.accounts.plans import Plan
from connectors.postgres.locks import one_by_one
from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.scopes import Scope

_FORM = re.compile(r"mp_([a-z0-9]{4,32})_([A-Za-z0-9_-]{16,128})")

MAX_KEYS = 100
"""What a tenant may have at a time of keys that still work."""

_INSERT = sa.text("""
    INSERT INTO api_keys (id, tenant_id, prefix, secret_hash, name, scopes, expires_at, replaces)
    SELECT :id, :tenant_id, :prefix, :secret_hash, :name, :scopes, :expires_at, :replaces
    WHERE :in_its_place OR (
        SELECT count(*) FROM api_keys
        WHERE tenant_id = :tenant_id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    ) < :most
    RETURNING created_at
""")
_OF_TENANT = """
    tenant_id, slug, origins, plan, requests_per_s, request_burst, max_assets, max_bytes, max_uploads
"""
_FIND = sa.text(f"""
    SELECT key_id, secret_hash, scopes, expires_at, revoked_at, {_OF_TENANT} FROM find_principal(:prefix)
""")  # noqa: S608 - made of constants
_FIND_TENANT = sa.text(f"SELECT {_OF_TENANT} FROM find_tenant_of_token(:slug)")  # noqa: S608 - made of constants
_COLUMNS = "id, prefix, name, scopes, created_at, expires_at, revoked_at, last_used_at, replaces"
_LIST = sa.text(f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE tenant_id = :tenant_id AND (created_at, id) < (CAST(:created_at AS timestamptz), CAST(:id AS uuid))
    ORDER BY created_at DESC, id DESC LIMIT :limit
""")  # noqa: S608 - made of constants
_NEWEST = Position(datetime.max.replace(tzinfo=UTC), UUID(int=0))
_REVOKE = sa.text("""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = :prefix RETURNING id
""")
_REVOKE_OWN = sa.text("""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = :tenant_id AND id = :id
    RETURNING revoked_at = now()
""")
# Only a key that still works is rotated, and only once. Locked by a statement of its own: of two callers at once the
# second one's next statement sees what the first has made, which the one that had to wait for the lock would not.
_LOCK = sa.text("SELECT expires_at FROM api_keys WHERE tenant_id = :tenant_id AND id = :id FOR NO KEY UPDATE")
_ROTATE = sa.text("""
    UPDATE api_keys SET expires_at = least(expires_at, now() + :overlap * interval '1 second')
    WHERE tenant_id = :tenant_id AND id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        AND NOT EXISTS (SELECT FROM api_keys AS newer WHERE newer.replaces = api_keys.id)
    RETURNING name, scopes
""")
_BY_PREFIX = sa.text("SELECT tenant_id, id FROM api_keys WHERE prefix = :prefix")
_PURGE = sa.text("""
    DELETE FROM api_keys WHERE id IN (
        SELECT id FROM api_keys WHERE least(revoked_at, expires_at) < now() - :kept * interval '1 second'
        ORDER BY least(revoked_at, expires_at) LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")
_TOUCH = sa.text("SELECT touch_api_keys(CAST(:ids AS uuid[]), CAST(:seen AS timestamptz[]))")


class MintedKey(NamedTuple):
    """A new key; `text` is in no place but this."""

    id: UUID
    prefix: str
    text: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None


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
    replaces: UUID | None


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request: a tenant, by one of its keys or by a token (then `key_id` is None).

    `actor` is what the audit log calls them; `origins` are those whose browsers may read answers.
    """

    key_id: UUID | None
    actor: str
    tenant_id: UUID
    slug: str
    scopes: frozenset[str]
    expires_at: datetime | None
    plan: Plan = Plan(name="unlimited")
    origins: frozenset[str] = frozenset()


async def mint_key(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    name: str = "",
    scopes: Sequence[Scope],
    expires_at: datetime | None = None,
) -> MintedKey:
    """Make a key; its text cannot be had again. Raises `MedialaneError(quota_exceeded)` beyond `MAX_KEYS`."""
    return await _make(connection, tenant_id, name, scopes, expires_at)


async def _make(
    connection: AsyncConnection,
    tenant_id: UUID,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    *,
    replaces: UUID | None = None,
    in_its_place: bool = False,
) -> MintedKey:
    await one_by_one(connection, "api_keys", tenant_id)
    prefix, secret = secrets.token_hex(6), secrets.token_hex(24)
    key_id, granted = uuid7(), [scope.value for scope in scopes]
    made = await connection.execute(
        _INSERT,
        {
            "id": key_id, "tenant_id": tenant_id, "prefix": prefix, "secret_hash": _hash(secret), "name": name,
            "scopes": granted, "expires_at": expires_at, "replaces": replaces, "in_its_place": in_its_place,
            "most": MAX_KEYS,
        },
    )  # fmt: skip
    created_at = made.scalar_one_or_none()
    if created_at is None:
        detail = f"A tenant has at most {MAX_KEYS} keys that work; revoke one first, or rotate one without an overlap."
        raise MedialaneError(ErrorCode.QUOTA_EXCEEDED, detail)
    return MintedKey(key_id, prefix, f"mp_{prefix}_{secret}", tuple(granted), created_at, expires_at)


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
        key_id=row.key_id, actor=f"key:{form[1]}", scopes=frozenset(row.scopes), expires_at=row.expires_at,
        **_tenant(row),
    )  # fmt: skip


async def principal_of_token(
    connection: AsyncConnection, slug: str, *, actor: str, scopes: frozenset[str], expires_at: datetime
) -> Principal | None:
    """Who a token speaks for, once its signature was checked; None if there is no such tenant."""
    row = (await connection.execute(_FIND_TENANT, {"slug": slug})).one_or_none()
    if row is None:
        return None
    return Principal(key_id=None, actor=actor, scopes=scopes, expires_at=expires_at, **_tenant(row))


async def touch_keys(connection: AsyncConnection, seen: Mapping[UUID, datetime]) -> None:
    """Write down when keys were last used, many at once."""
    await connection.execute(_TOUCH, {"ids": list(seen), "seen": list(seen.values())})


async def list_keys(
    connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: Position | None = None
) -> tuple[KeyInfo, ...]:
    """A page of a tenant's keys, newest first, ended ones too, without their secrets."""
    values = {"tenant_id": tenant_id, "limit": limit} | (before or _NEWEST)._asdict()
    rows = (await connection.execute(_LIST, values)).mappings()
    return tuple(KeyInfo(**(row | {"scopes": tuple(row["scopes"])})) for row in map(dict, rows))


async def find_key(connection: AsyncConnection, prefix: str) -> tuple[UUID, UUID]:
    """The tenant's and the key's id of a prefix, for operators. Raises `MedialaneError(not_found)`."""
    row = (await connection.execute(_BY_PREFIX, {"prefix": prefix})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no API key with the prefix {prefix!r}.", field="prefix")
    return row.tenant_id, row.id


async def revoke_key(connection: AsyncConnection, prefix: str) -> None:
    """Make a key useless, for good; processes that hold it in a cache follow within its bound.

    Raises `MedialaneError(not_found)`.
    """
    if (await connection.execute(_REVOKE, {"prefix": prefix})).one_or_none() is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no API key with the prefix {prefix!r}.", field="prefix")


async def revoke_own_key(connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> bool | None:
    """The same for a tenant's own key by its id; False if it was revoked before, None if it has no such one."""
    done: bool | None = (
        await connection.execute(_REVOKE_OWN, {"tenant_id": tenant_id, "id": key_id})
    ).scalar_one_or_none()
    return done


async def purge(connection: AsyncConnection, *, kept_s: float, batch: int) -> int:
    """Delete some of the keys that were revoked or expired longer ago than `kept_s`; how many. For the worker role.

    Nothing refers to them by id: what was done with a key is told by its prefix.
    """
    return (await connection.execute(_PURGE, {"kept": kept_s, "batch": batch})).rowcount


def earliest(*ends: datetime | None) -> datetime | None:
    """The first of these ends; None, which is never, if there is none."""
    return min((end for end in ends if end is not None), default=None)


async def rotate_key(
    connection: AsyncConnection,
    tenant_id: UUID,
    key_id: UUID,
    *,
    overlap_s: float,
    expires_at: datetime | None,
    at_most: datetime | None = None,
) -> MintedKey | None:
    """Make a key with the same name and scopes; the old one goes on for `overlap_s` seconds.

    The new one ends at `expires_at` (None: when the old one would have), and not after `at_most`. None if the tenant
    has no such key. Raises `MedialaneError`: conflict for one that ended or was rotated already, quota_exceeded beyond
    `MAX_KEYS`, as long as the overlap leaves both.
    """
    key = {"tenant_id": tenant_id, "id": key_id}
    old = (await connection.execute(_LOCK, key)).one_or_none()
    if old is None:
        return None
    row = (await connection.execute(_ROTATE, key | {"overlap": overlap_s})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.CONFLICT, "This key was revoked, has expired or was rotated already.")
    scopes, end = [Scope(scope) for scope in row.scopes], earliest(expires_at or old.expires_at, at_most)
    return await _make(connection, tenant_id, row.name, scopes, end, replaces=key_id, in_its_place=overlap_s == 0)


def _tenant(row: sa.Row[Any]) -> dict[str, Any]:
    plan = Plan(
        name=row.plan, requests_per_s=row.requests_per_s, request_burst=row.request_burst, max_assets=row.max_assets,
        max_bytes=row.max_bytes, max_uploads=row.max_uploads,
    )  # fmt: skip
    return {"tenant_id": row.tenant_id, "slug": row.slug, "origins": frozenset(row.origins), "plan": plan}


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
