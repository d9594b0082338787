"""Uploads that were announced and never completed, as rows. For the worker role."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.accounts.allowances import Space, give_back

_ENDED = "upload_expires_at < now() - :age * interval '1 second'"
# A row that an interrupted sweep has marked is found again: it is deleted and was never uploaded.
_FIND = sa.text(f"""
    SELECT id, tenant_id, object_key, upload_id, size FROM assets
    WHERE uploaded_at IS NULL AND {_ENDED}
        AND (state = 'pending' OR (state = 'deleted' AND purged_at IS NULL))
        AND id > :after
    ORDER BY id LIMIT :limit
""")  # noqa: S608 - made of constants
# Looks at the age again: many are found at once, and one may be given a new address before its turn comes.
_MARK = sa.text(f"""
    WITH was AS MATERIALIZED (
        SELECT id, state FROM assets
        WHERE id = :id AND uploaded_at IS NULL AND state IN ('pending', 'deleted') AND {_ENDED} FOR NO KEY UPDATE
    )
    UPDATE assets SET state = 'deleted', deleted_at = coalesce(deleted_at, now())
    FROM was WHERE assets.id = was.id RETURNING was.state = 'pending' AS counted
""")  # noqa: S608 - made of constants
_FORGET = sa.text("DELETE FROM assets WHERE id = :id AND state = 'deleted' AND uploaded_at IS NULL RETURNING id")


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


async def mark_abandoned(connection: AsyncConnection, upload: Abandoned, *, age_s: float) -> bool:
    """Make an upload gone for its tenant, who gets its room back.

    False if it was completed meanwhile, or got a new address.

    Commit before its object is removed. The room is given back by whoever found it pending: once, however often a sweep
    is interrupted, and not for one that its tenant has deleted.
    """
    counted = (await connection.execute(_MARK, {"id": upload.id, "age": age_s})).scalar_one_or_none()
    if counted:
        await give_back(connection, upload.tenant_id, Space(1, upload.size))
    return counted is not None


async def forget_abandoned(connection: AsyncConnection, asset_id: UUID) -> bool:
    """Delete a marked upload's row, once its object is gone; False if somebody else has."""
    return (await connection.execute(_FORGET, {"id": asset_id})).one_or_none() is not None
