"""Webhook endpoints as tenants register them. Secrets come sealed and leave sealed; nothing here can read one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7

MAX_ENDPOINTS = 50
"""What a tenant may have at a time: each event makes a delivery for every one of them."""

_COLUMNS = "id, url, events, enabled, disabled_reason, created_at"
# Registrations of one tenant come one after the other, or several would find the last free place.
_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoints', 0) # hashtextextended(:tenant, 0))")
_INSERT = sa.text(f"""
    INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events)
    SELECT :id, :tenant_id, :url, :secret, :events
    WHERE (SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL) < :most
    RETURNING {_COLUMNS}
""")  # noqa: S608 - made of constants
_LIST = sa.text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL ORDER BY created_at, id
""")  # noqa: S608 - made of constants
_DELETE = sa.text("""
    UPDATE webhook_endpoints SET deleted_at = now(), enabled = false
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL RETURNING id
""")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A registration; `events` are event types or `*`. `disabled_reason` says why nothing is sent any more."""

    id: UUID
    url: str
    events: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    created_at: datetime


async def register_endpoint(
    connection: AsyncConnection, tenant_id: UUID, *, url: str, sealed_secret: bytes, events: Sequence[str]
) -> Endpoint:
    """Add an endpoint; what happens from now on is sent to it. Raises `MedialaneError(quota_exceeded)`."""
    await connection.execute(_LOCK, {"tenant": str(tenant_id)})
    values = {"id": uuid7(), "tenant_id": tenant_id, "url": url, "secret": sealed_secret, "events": list(events)}
    made = (await connection.execute(_INSERT, values | {"most": MAX_ENDPOINTS})).mappings().one_or_none()
    if made is None:
        detail = f"A tenant has at most {MAX_ENDPOINTS} webhook endpoints; delete one first."
        raise MedialaneError(ErrorCode.QUOTA_EXCEEDED, detail)
    return _endpoint(made)


async def list_endpoints(connection: AsyncConnection, tenant_id: UUID) -> tuple[Endpoint, ...]:
    """A tenant's endpoints, oldest first."""
    return tuple(_endpoint(row) for row in (await connection.execute(_LIST, {"tenant_id": tenant_id})).mappings())


async def delete_endpoint(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Stop sending to an endpoint; False if the tenant has no such one."""
    found = await connection.execute(_DELETE, {"tenant_id": tenant_id, "id": endpoint_id})
    return found.one_or_none() is not None


def _endpoint(row: sa.RowMapping) -> Endpoint:
    return Endpoint(**(dict(row) | {"events": tuple(row["events"])}))
