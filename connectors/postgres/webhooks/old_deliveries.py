"""Webhook deliveries that ended long ago, deleted with their attempts. For the worker role."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_PURGE = sa.text("""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE finished_at < now() - :kept * interval '1 second'
        ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")


async def purge(connection: AsyncConnection, *, kept_s: float, batch: int) -> int:
    """Delete some of what ended longer ago than `kept_s`, the oldest first; returns how many.

    What is repeated by then is delivered once more: that an event was sent to an endpoint is known by the row alone.
    """
    return (await connection.execute(_PURGE, {"kept": kept_s, "batch": batch})).rowcount
