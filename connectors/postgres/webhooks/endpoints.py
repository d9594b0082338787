"""Webhook endpoints as tenants register and change them. Secrets come sealed; nothing here can read one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.locks import one_by_one
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7

MAX_ENDPOINTS = 50
"""What a tenant may have at a time: each event makes a delivery for every one of them."""

COLUMNS = """
    id, url, events, description, enabled, disabled_reason, created_at,
    CASE WHEN secret_old_until > clock_timestamp() THEN secret_old_until END AS old_secret_until
"""
"""What `Endpoint` is read from."""

_INSERT = sa.text(f"""
    INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events, description)
    SELECT :id, :tenant_id, :url, :secret, :events, :description
    WHERE (SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL) < :most
    RETURNING {COLUMNS}
""")  # noqa: S608 - made of constants
_LIST = sa.text(f"""
    SELECT {COLUMNS} FROM webhook_endpoints WHERE tenant_id = :tenant_id AND deleted_at IS NULL ORDER BY created_at, id
""")  # noqa: S608 - made of constants
_READ = sa.text(f"""
    SELECT {COLUMNS} FROM webhook_endpoints WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL
""")  # noqa: S608 - made of constants
# Whoever switches one on has done something about what disabled it. What was off already keeps its reason.
_CHANGE = sa.text(f"""
    UPDATE webhook_endpoints SET url = coalesce(CAST(:url AS text), url),
        events = coalesce(CAST(:events AS text[]), events),
        description = coalesce(CAST(:description AS text), description),
        enabled = coalesce(CAST(:enabled AS boolean), enabled),
        sends_since = CASE WHEN CAST(:enabled AS boolean) AND NOT enabled THEN clock_timestamp() ELSE sends_since END,
        disabled_reason = CASE WHEN CAST(:enabled AS boolean) THEN NULL ELSE disabled_reason END
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL RETURNING {COLUMNS}
""")  # noqa: S608 - made of constants
_DELETE = sa.text("""
    UPDATE webhook_endpoints SET deleted_at = now(), enabled = false
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL RETURNING id
""")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A registration; `events` are event types or `*`. `disabled_reason` says why nothing is sent any more (None: it
    is, or its tenant switched it off); `old_secret_until` when deliveries cease to be signed with the secret before.
    """

    id: UUID
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str | None
    created_at: datetime
    old_secret_until: datetime | None


async def register_endpoint(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    url: str,
    sealed_secret: bytes,
    events: Sequence[str],
    description: str = "",
) -> Endpoint:
    """Add an endpoint; what happens from now on is sent to it. Raises `MedialaneError(quota_exceeded)`."""
    await one_by_one(connection, "webhook_endpoints", tenant_id)
    values = {
        "id": uuid7(), "tenant_id": tenant_id, "url": url, "secret": sealed_secret, "events": list(events),
        "description": description,
    }  # fmt: skip
    made = (await connection.execute(_INSERT, values | {"most": MAX_ENDPOINTS})).mappings().one_or_none()
    if made is None:
        detail = f"A tenant has at most {MAX_ENDPOINTS} webhook endpoints; delete one first."
        raise MedialaneError(ErrorCode.QUOTA_EXCEEDED, detail)
    return endpoint_of(made)


async def list_endpoints(connection: AsyncConnection, tenant_id: UUID) -> tuple[Endpoint, ...]:
    """A tenant's endpoints, oldest first."""
    return tuple(endpoint_of(row) for row in (await connection.execute(_LIST, {"tenant_id": tenant_id})).mappings())


async def read_endpoint(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """One of a tenant's endpoints; None if it has no such one."""
    found = await connection.execute(_READ, {"tenant_id": tenant_id, "id": endpoint_id})
    row = found.mappings().one_or_none()
    return None if row is None else endpoint_of(row)


async def change_endpoint(
    connection: AsyncConnection,
    tenant_id: UUID,
    endpoint_id: UUID,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Endpoint | None:
    """Change what is given; what waits for it goes to the new address. None if the tenant has no such endpoint.

    Switched on, it gets what happens from now on, and nothing earlier that is planned only now; what waits for one that
    is off is given up when it comes due.
    """
    values = {
        "tenant_id": tenant_id, "id": endpoint_id, "url": url, "events": None if events is None else list(events),
        "description": description, "enabled": enabled,
    }  # fmt: skip
    row = (await connection.execute(_CHANGE, values)).mappings().one_or_none()
    return None if row is None else endpoint_of(row)


async def delete_endpoint(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Stop sending to an endpoint; False if the tenant has no such one."""
    found = await connection.execute(_DELETE, {"tenant_id": tenant_id, "id": endpoint_id})
    return found.one_or_none() is not None


def endpoint_of(row: sa.RowMapping) -> Endpoint:
    """A row of `COLUMNS`."""
    return Endpoint(**(dict(row) | {"events": tuple(row["events"])}))
