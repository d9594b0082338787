"""Removing a tenant: first nobody can call for it, then its rows go, many at a time, and its own row last.

For the worker role. Each step may be repeated: whoever was interrupted begins again, and finds less.
"""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_HOLDINGS = sa.text("""
    SELECT (SELECT count(*) FROM assets WHERE tenant_id = :tenant_id) AS assets,
        (SELECT CAST(coalesce(sum(size), 0) AS bigint) FROM assets WHERE tenant_id = :tenant_id) AS bytes,
        (SELECT count(*) FROM api_keys WHERE tenant_id = :tenant_id AND revoked_at IS NULL) AS keys,
        (SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL) AS webhooks
""")
_REVOKE = sa.text("UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = :tenant_id")
_SILENCE = sa.text("""
    UPDATE webhook_endpoints SET deleted_at = coalesce(deleted_at, now()), enabled = false WHERE tenant_id = :tenant_id
""")
# Each page in the order of an index that begins with the tenant or the endpoint: when little or nothing is left of a
# tenant, any other way walks over what all the others have.
_ASSETS = sa.text("""
    SELECT id, object_key, upload_id FROM assets WHERE tenant_id = :tenant_id ORDER BY created_at, id LIMIT :limit
""")
_FORGET_ASSETS = sa.text("DELETE FROM assets WHERE id = ANY(:ids)")
_FORGET_DELIVERIES = sa.text("""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT sent.id FROM webhook_endpoints e, LATERAL (
            SELECT id FROM webhook_deliveries WHERE endpoint_id = e.id ORDER BY event_id LIMIT :limit
        ) AS sent
        WHERE e.tenant_id = :tenant_id LIMIT :limit
    )
""")
_FORGET_CONTENTS = sa.text("""
    DELETE FROM content WHERE tenant_id = :tenant_id
        AND sha256 IN (SELECT sha256 FROM content WHERE tenant_id = :tenant_id ORDER BY sha256 LIMIT :limit)
""")
_FORGET = sa.text("DELETE FROM tenants WHERE id = :tenant_id")


class Holdings(NamedTuple):
    """What a tenant has: assets with their announced bytes, keys that work, webhooks."""

    assets: int
    bytes: int
    keys: int
    webhooks: int


class Held(NamedTuple):
    """An asset whose row goes; `upload_id` is the store's, of an upload in parts."""

    id: UUID
    object_key: str
    upload_id: str | None


async def holdings(connection: AsyncConnection, tenant_id: UUID) -> Holdings:
    """What would go."""
    return Holdings(*(await connection.execute(_HOLDINGS, {"tenant_id": tenant_id})).one())


async def shut_out(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Revoke every key and end every webhook; processes that know a key follow within seconds."""
    for statement in (_REVOKE, _SILENCE):
        await connection.execute(statement, {"tenant_id": tenant_id})


async def next_assets(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> tuple[Held, ...]:
    """Some of the assets that are left, deleted ones too."""
    rows = await connection.execute(_ASSETS, {"tenant_id": tenant_id, "limit": limit})
    return tuple(Held(*row) for row in rows)


async def forget_assets(connection: AsyncConnection, ids: list[UUID]) -> None:
    """Delete assets' rows, and with them their jobs (a worker that is at one is fenced), variants and events."""
    await connection.execute(_FORGET_ASSETS, {"ids": ids})


async def forget_deliveries(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> int:
    """Delete some of the webhook deliveries; returns how many."""
    return (await connection.execute(_FORGET_DELIVERIES, {"tenant_id": tenant_id, "limit": limit})).rowcount


async def forget_contents(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> int:
    """Delete some of what is known of the tenant's bytes; returns of how many. Its assets have gone before."""
    return (await connection.execute(_FORGET_CONTENTS, {"tenant_id": tenant_id, "limit": limit})).rowcount


async def forget_tenant(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Delete the tenant's row, and with it all that is left; the audit log stays."""
    await connection.execute(_FORGET, {"tenant_id": tenant_id})
