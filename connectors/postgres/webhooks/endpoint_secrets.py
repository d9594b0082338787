"""Secrets of webhook endpoints followed by new ones. They come sealed and stay sealed; nothing here can read one."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.webhooks.endpoints import COLUMNS, Endpoint, endpoint_of
from schemas.errors import ErrorCode, MedialaneError

# Locked by a statement of its own, as a key is: of two callers at once the second one sees what the first has made.
_LOCK = sa.text("""
    SELECT secret_old_until > clock_timestamp() AS overlaps FROM webhook_endpoints
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL FOR NO KEY UPDATE
""")
_ROTATE = sa.text(f"""
    UPDATE webhook_endpoints SET secret = :secret,
        secret_old = CASE WHEN :overlap > 0 THEN secret END,
        secret_old_until = CASE WHEN :overlap > 0 THEN clock_timestamp() + :overlap * interval '1 second' END
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL RETURNING {COLUMNS}
""")  # noqa: S608 - made of constants


async def rotate_secret(
    connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID, *, sealed_secret: bytes, overlap_s: int
) -> Endpoint | None:
    """Give an endpoint a new secret; deliveries are signed with the old one, too, for `overlap_s` seconds.

    None if the tenant has no such endpoint. Raises `MedialaneError(conflict)` while an earlier overlap lasts: there is
    room for one old secret, and that one was promised its time. Without an overlap, every old one ends at once.
    """
    endpoint = {"tenant_id": tenant_id, "id": endpoint_id}
    found = (await connection.execute(_LOCK, endpoint)).one_or_none()
    if found is None:
        return None
    if found.overlaps and overlap_s > 0:
        detail = "The secret before is still in use: wait until `oldSecretUntil`, or end it by an overlap of 0 seconds."
        raise MedialaneError(ErrorCode.CONFLICT, detail, field="overlapSeconds")
    values = endpoint | {"secret": sealed_secret, "overlap": overlap_s}
    return endpoint_of((await connection.execute(_ROTATE, values)).mappings().one())
