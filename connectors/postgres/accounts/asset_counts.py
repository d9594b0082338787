"""How many assets a tenant has, and of how many bytes: counted in pages, as one statement does not end in time for
millions.
"""

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_PAGE = """
    WITH page AS MATERIALIZED (
        SELECT created_at, id, size FROM assets
        WHERE tenant_id = :tenant_id AND (created_at, id) > (:at, :after) {which}
        ORDER BY created_at, id LIMIT :page
    )
    SELECT count(*) AS assets, CAST(coalesce(sum(size), 0) AS bigint) AS bytes, max(created_at) AS at,
        (SELECT id FROM page ORDER BY created_at DESC, id DESC LIMIT 1) AS after
    FROM page
"""
_ALL, _LIVE = sa.text(_PAGE.format(which="")), sa.text(_PAGE.format(which="AND deleted_at IS NULL"))


async def count_assets(
    connection: AsyncConnection, tenant_id: UUID, *, deleted: bool, page: int = 20_000
) -> tuple[int, int]:
    """A tenant's assets, and the bytes that were announced of them; with `deleted`, rows of deleted ones count, too."""
    assets, size, at, after = 0, 0, datetime(1, 1, 1, tzinfo=UTC), UUID(int=0)
    while True:
        values = {"tenant_id": tenant_id, "at": at, "after": after, "page": page}
        row = (await connection.execute(_ALL if deleted else _LIVE, values)).one()
        assets, size = assets + row.assets, size + row.bytes
        if row.assets < page:
            return assets, size
        at, after = row.at, row.after
