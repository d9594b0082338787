"""What is kept of webhook endpoints for a time only: deleted ones, and secrets whose overlap is over.

For the worker role.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# One that still has deliveries goes after them: with it they would go at once, however many, and young ones too.
_PURGE = sa.text("""
    DELETE FROM webhook_endpoints WHERE id IN (
        SELECT id FROM webhook_endpoints e WHERE deleted_at < now() - :kept * interval '1 second'
            AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.id)
        ORDER BY deleted_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")
_FORGET = sa.text("""
    UPDATE webhook_endpoints SET secret_old = NULL, secret_old_until = NULL WHERE id IN (
        SELECT id FROM webhook_endpoints WHERE secret_old_until < now() AND deleted_at IS NULL
        LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
    )
""")


async def purge(connection: AsyncConnection, *, kept_s: float, batch: int) -> int:
    """Delete some of the endpoints that were deleted longer ago than `kept_s` and have no deliveries any more, the
    oldest first; returns how many.
    """
    return (await connection.execute(_PURGE, {"kept": kept_s, "batch": batch})).rowcount


async def forget_old_secrets(connection: AsyncConnection, *, batch: int) -> int:
    """Delete some of the secrets that were rotated away and are not signed with any more; returns how many."""
    return (await connection.execute(_FORGET, {"batch": batch})).rowcount
