"""What uploads leave behind: announced and never completed, or objects that no row knows. For the worker role."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# A row that an interrupted sweep has marked is found again: it is deleted and was never uploaded.
_FIND = sa.text("""
    SELECT id, tenant_id, object_key, upload_id, size FROM assets
    WHERE uploaded_at IS NULL AND upload_expires_at < now() - :age * interval '1 second'
        AND (state = 'pending' OR (state = 'deleted' AND purged_at IS NULL))
        AND id > :after
    ORDER BY id LIMIT :limit
""")
_MARK = sa.text("""
    UPDATE assets SET state = 'deleted', deleted_at = coalesce(deleted_at, now())
    WHERE id = :id AND uploaded_at IS NULL AND state IN ('pending', 'deleted') RETURNING id
""")
_FORGET = sa.text("DELETE FROM assets WHERE id = :id AND state = 'deleted' AND uploaded_at IS NULL")
_KNOWN_UPLOADS = sa.text("SELECT id FROM assets WHERE id = ANY(:ids)")
# By content, not by object: a rendition may have objects beside that of its row.
_KNOWN_CONTENTS = sa.text("""
    SELECT o.tenant_id, o.sha256
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:contents AS bytea[])) AS o (tenant_id, sha256)
    WHERE EXISTS (SELECT FROM content c WHERE c.tenant_id = o.tenant_id AND c.sha256 = o.sha256)
        OR EXISTS (SELECT FROM variants v WHERE v.tenant_id = o.tenant_id AND v.content_sha256 = o.sha256)
""")


class Abandoned(NamedTuple):
    """An upload that nobody completed; `upload_id` is the store's, of one in parts."""

    id: UUID
    tenant_id: UUID
    object_key: str
    upload_id: str | None
    size: int


async def find_abandoned(
    connection: AsyncConnection, *, age_s: float, after: UUID, limit: int
) -> tuple[Abandoned, ...]:
    """Uploads whose last address ended so long ago, by id."""
    rows = await connection.execute(_FIND, {"age": age_s, "after": after, "limit": limit})
    return tuple(Abandoned(*row) for row in rows)


async def mark_abandoned(connection: AsyncConnection, asset_id: UUID) -> bool:
    """Make an upload gone for its tenant; False if it was completed meanwhile. Commit before its object is removed."""
    return (await connection.execute(_MARK, {"id": asset_id})).one_or_none() is not None


async def forget_abandoned(connection: AsyncConnection, asset_id: UUID) -> None:
    """Delete a marked upload's row, once its object is gone."""
    await connection.execute(_FORGET, {"id": asset_id})


async def known_uploads(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these assets have a row."""
    return set((await connection.execute(_KNOWN_UPLOADS, {"ids": list(ids)})).scalars())


async def known_contents(
    connection: AsyncConnection, contents: Sequence[tuple[UUID, bytes]]
) -> set[tuple[UUID, bytes]]:
    """Which of these (tenant, SHA-256) anything is known of."""
    values = {"tenants": [tenant for tenant, _ in contents], "contents": [sha256 for _, sha256 in contents]}
    return {(row.tenant_id, bytes(row.sha256)) for row in await connection.execute(_KNOWN_CONTENTS, values)}
