"""Tenants: made and listed by platform teams, under the worker role."""

import re
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.placements import place_tenant
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")  # as the table's CHECK has it

_INSERT = sa.text("""
    INSERT INTO tenants (id, slug) VALUES (:id, :slug) ON CONFLICT (slug) DO NOTHING RETURNING id, slug, created_at
""")
_LIST = sa.text("SELECT id, slug, created_at FROM tenants ORDER BY slug")
_BY_SLUG = sa.text("SELECT id, slug, created_at FROM tenants WHERE slug = :slug")


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant; the slug is what people call it."""

    id: UUID
    slug: str
    created_at: datetime


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
    tenant = Tenant(**row)
    await place_tenant(connection, tenant.id)
    return tenant


async def list_tenants(connection: AsyncConnection) -> tuple[Tenant, ...]:
    """Every tenant, by slug."""
    return tuple(Tenant(**row) for row in (await connection.execute(_LIST)).mappings())


async def find_tenant(connection: AsyncConnection, slug: str) -> Tenant:
    """The tenant of a slug. Raises `MedialaneError(not_found)`."""
    row = (await connection.execute(_BY_SLUG, {"slug": slug})).mappings().one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no tenant {slug!r}.", field="slug")
    return Tenant(**row)
