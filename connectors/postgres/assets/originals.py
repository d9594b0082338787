"""An asset's upload as complete found it: where it is, and what pins it."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_FIND = sa.text("""
    SELECT file_name, content_type, size, object_key, etag, version_id FROM assets
    WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'
""")


class Original(NamedTuple):
    """An upload; `etag` and `version_id` are those of the bytes that were completed: None, if none were."""

    file_name: str
    content_type: str
    size: int
    object_key: str
    etag: str | None
    version_id: str | None


async def find_original(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> Original | None:
    """The upload of an asset; None if the tenant has no such asset."""
    row = (await connection.execute(_FIND, {"tenant_id": tenant_id, "id": asset_id})).one_or_none()
    return None if row is None else Original(*row)
