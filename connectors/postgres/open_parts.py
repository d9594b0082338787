"""Uploads in parts that are under way, as rows. For the worker role."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_FIND = sa.text("""
    SELECT id, tenant_id, object_key, upload_id, size FROM assets
    WHERE upload_id IS NOT NULL AND uploaded_at IS NULL AND state = 'pending' AND id > :after
    ORDER BY id LIMIT :limit
""")


class OpenUpload(NamedTuple):
    """An upload whose parts are not put together yet; `upload_id` is the store's, `size` what was announced, bytes."""

    id: UUID
    tenant_id: UUID
    object_key: str
    upload_id: str
    size: int


async def find_open(connection: AsyncConnection, *, after: UUID, limit: int) -> tuple[OpenUpload, ...]:
    """Some of them, by id."""
    rows = await connection.execute(_FIND, {"after": after, "limit": limit})
    return tuple(OpenUpload(*row) for row in rows)
