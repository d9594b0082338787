"""Removing a tenant: first nobody can call for it, then its rows go, many at a time, and its own row last.

For the worker role. Each step may be repeated: whoever was interrupted begins again, and finds less.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.accounts.asset_counts import count_assets

_HOLDINGS = sa.text("""
    SELECT (SELECT count(*) FROM api_keys WHERE tenant_id = :tenant_id AND revoked_at IS NULL) AS keys,
        (SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL) AS webhooks
""")
_CLOSE = sa.text("UPDATE tenants SET closed_at = coalesce(closed_at, now()) WHERE id = :tenant_id")
_REVOKE = sa.text("UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = :tenant_id")
_SILENCE = sa.text("""
    UPDATE webhook_endpoints SET deleted_at = coalesce(deleted_at, now()), enabled = false WHERE tenant_id = :tenant_id
""")
# Each page in the order of an index that begins with the tenant or the endpoint: when little or nothing is left of a
# tenant, any other way walks over what all the others have.
_ASSETS = sa.text("""
    SELECT id, object_key, upload_id FROM assets WHERE tenant_id = :tenant_id ORDER BY created_at, id LIMIT :limit
""")
# One that has begun its upload in parts anew since it was read stays for the next page: only its row knows the parts.
_FORGET_ASSETS = sa.text("""
    DELETE FROM assets USING unnest(CAST(:ids AS uuid[]), CAST(:upload_ids AS text[])) AS held (id, upload_id)
    WHERE assets.id = held.id AND assets.upload_id IS NOT DISTINCT FROM held.upload_id
""")
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
# Locked against new rows that refer to it: who is about to write an asset waits, and then finds no tenant.
_LOCK = sa.text("SELECT FROM tenants WHERE id = :tenant_id FOR UPDATE")
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
    counted = await count_assets(connection, tenant_id, deleted=True)
    return Holdings(*counted, *(await connection.execute(_HOLDINGS, {"tenant_id": tenant_id})).one())


async def shut_out(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Let nobody in by key or token, and end every webhook; processes that know a caller follow within seconds."""
    for statement in (_CLOSE, _REVOKE, _SILENCE):
        await connection.execute(statement, {"tenant_id": tenant_id})


async def next_assets(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> tuple[Held, ...]:
    """Some of the assets that are left, deleted ones too."""
    rows = await connection.execute(_ASSETS, {"tenant_id": tenant_id, "limit": limit})
    return tuple(Held(*row) for row in rows)


async def forget_assets(connection: AsyncConnection, held: Sequence[Held]) -> None:
    """Delete assets' rows, and with them their jobs (a worker that is at one is fenced), variants and events.

    One whose upload in parts is another by now stays.
    """
    values = {"ids": [asset.id for asset in held], "upload_ids": [asset.upload_id for asset in held]}
    await connection.execute(_FORGET_ASSETS, values)


async def forget_deliveries(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> int:
    """Delete some of the webhook deliveries; returns how many."""
    return (await connection.execute(_FORGET_DELIVERIES, {"tenant_id": tenant_id, "limit": limit})).rowcount


async def forget_contents(connection: AsyncConnection, tenant_id: UUID, *, limit: int) -> int:
    """Delete some of what is known of the tenant's bytes; returns of how many. Its assets have gone before."""
    return (await connection.execute(_FORGET_CONTENTS, {"tenant_id": tenant_id, "limit": limit})).rowcount


async def forget_tenant(connection: AsyncConnection, tenant_id: UUID) -> bool:
    """Delete the tenant's row, and with it all that is left; the audit log stays.

    False, and nothing is deleted, if it has assets (again): who was let in before may have made one meanwhile.
    """
    await connection.execute(_LOCK, {"tenant_id": tenant_id})
    if await next_assets(connection, tenant_id, limit=1):
        return False
    await connection.execute(_FORGET, {"tenant_id": tenant_id})
    return True
