"""Tenants: made and listed by platform teams, under the worker role."""

import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.placement.placements import place_tenant
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")  # as the table's CHECK has it
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")

_INSERT = sa.text("""
    INSERT INTO tenants (id, slug) VALUES (:id, :slug) ON CONFLICT (slug) DO NOTHING
    RETURNING id, slug, created_at, plan, allowed_origins
""")
_COLUMNS = "id, slug, created_at, plan, allowed_origins"
_LIST = sa.text(f"SELECT {_COLUMNS} FROM tenants ORDER BY slug")  # noqa: S608 - made of constants
_BY_SLUG = sa.text(f"SELECT {_COLUMNS} FROM tenants WHERE slug = :slug")  # noqa: S608 - made of constants
_ALLOW = sa.text("UPDATE tenants SET allowed_origins = :origins WHERE slug = :slug RETURNING id")


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant; the slug is what people call it, the origins are those whose pages may call the API with its keys."""

    id: UUID
    slug: str
    created_at: datetime
    plan: str = "standard"
    allowed_origins: tuple[str, ...] = ()


async def create_tenant(connection: AsyncConnection, slug: str) -> Tenant:
    """Make a tenant and give it its partitions.

    Raises `MedialaneError`: invalid_request for a slug that is none, conflict for one that is taken; `LookupError` if
    no partitions were confirmed yet (`medialane topics apply`).
    """
    if _SLUG.fullmatch(slug) is None:
        detail = f"{slug!r} is no slug: 2 to 63 of a-z, 0-9 and '-', the first no '-'."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="slug")
    row = (await connection.execute(_INSERT, {"id": uuid7(), "slug": slug})).mappings().one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.CONFLICT, f"There is a tenant {slug!r} already.", field="slug")
    tenant = _tenant(row)
    await place_tenant(connection, tenant.id)
    return tenant


async def list_tenants(connection: AsyncConnection) -> tuple[Tenant, ...]:
    """Every tenant, by slug."""
    return tuple(_tenant(row) for row in (await connection.execute(_LIST)).mappings())


async def find_tenant(connection: AsyncConnection, slug: str) -> Tenant:
    """The tenant of a slug. Raises `MedialaneError(not_found)`."""
    row = (await connection.execute(_BY_SLUG, {"slug": slug})).mappings().one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no tenant {slug!r}.", field="slug")
    return _tenant(row)


async def allow_origins(connection: AsyncConnection, slug: str, origins: Sequence[str]) -> None:
    """Let pages of these origins, and of no others, call the API.

    Raises `MedialaneError`: not_found, invalid_request.
    """
    for origin in origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            detail = f"{origin!r} is no origin: scheme, host and, if it is not the usual one, port; or '*' for all."
            raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="origins")
    found = await connection.execute(_ALLOW, {"slug": slug, "origins": list(dict.fromkeys(origins))})
    if found.one_or_none() is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no tenant {slug!r}.", field="slug")


def _tenant(row: sa.RowMapping) -> Tenant:
    return Tenant(**(dict(row) | {"allowed_origins": tuple(row["allowed_origins"])}))
