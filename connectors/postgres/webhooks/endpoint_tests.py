"""Deliveries that a tenant asks for to try an endpoint: made due at once, and from then on like all others."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Event
from schemas.ids import uuid7

# Until commit its row stays, to which the insert that follows refers. Its tenant may disable or delete it, which only
# marks the row: the test is then given up when it comes due.
_ENDPOINT = sa.text("""
    SELECT enabled, events FROM webhook_endpoints
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL FOR KEY SHARE
""")
_INSERT = sa.text("""
    INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload,
        traceparent, state, due_at)
    VALUES (:id, :tenant_id, :endpoint_id, :event_id, :event_type, :asset_id, :seq, :payload, :traceparent, 'waiting',
        clock_timestamp())
""")


async def testable_endpoint(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> tuple[str, ...]:
    """The event types that an endpoint is registered for; its row is there until this transaction ends.

    Raises `MedialaneError`: not_found, webhook_disabled.
    """
    row = (await connection.execute(_ENDPOINT, {"tenant_id": tenant_id, "id": endpoint_id})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND)
    if not row.enabled:
        raise MedialaneError(ErrorCode.WEBHOOK_DISABLED)
    return tuple(row.events)


async def insert_test(
    connection: AsyncConnection, endpoint_id: UUID, event: Event, *, payload: str, traceparent: str | None
) -> UUID:
    """Make a delivery of an event that did not happen, to an endpoint of its tenant; returns the delivery's id."""
    delivery_id = uuid7()
    values = {
        "id": delivery_id, "tenant_id": event.tenant_id, "endpoint_id": endpoint_id, "event_id": event.id,
        "event_type": event.event_type, "asset_id": event.asset_id, "seq": event.seq, "payload": payload,
        "traceparent": traceparent,
    }  # fmt: skip
    await connection.execute(_INSERT, values)
    return delivery_id
