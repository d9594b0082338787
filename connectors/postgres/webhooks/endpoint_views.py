"""Webhook endpoints as operators look at them, under the worker role: whosever they are, how much waits, and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ErrorCode, MedialaneError

# Of those that wait, the ones that are due last have failed last. `response` may have any length that an answer has.
_WHY = """
    SELECT a.outcome, a.status, left(a.response, 200) AS response, a.finished_at
    FROM (SELECT id FROM webhook_deliveries WHERE endpoint_id = e.id AND state = 'waiting'
          ORDER BY due_at DESC LIMIT 20) AS latest
    JOIN webhook_attempts a ON a.delivery_id = latest.id WHERE a.outcome IS NOT NULL
    ORDER BY a.finished_at DESC LIMIT 1
"""
_LIST = sa.text(f"""
    SELECT e.id, e.tenant_id, e.tenant, e.url, e.events, e.enabled, e.disabled_reason, e.created_at, e.deleted_at,
        e.waiting, CASE WHEN e.first_due <= statement_timestamp() THEN e.first_due END AS due_since, e.dead,
        why.outcome AS last_outcome, why.status AS last_status, why.response AS last_response,
        why.finished_at AS last_at
    FROM (
        SELECT e.id, e.tenant_id, t.slug AS tenant, e.url, e.events, e.enabled, e.disabled_reason, e.created_at,
            e.deleted_at, waits.waiting, waits.first_due, (
                SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.state = 'dead'
            ) AS dead
        FROM webhook_endpoints e JOIN tenants t ON t.id = e.tenant_id CROSS JOIN LATERAL (
            SELECT count(*) AS waiting, min(d.due_at) AS first_due
            FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.state = 'waiting'
        ) AS waits
        WHERE (CAST(:tenant AS text) IS NULL OR t.slug = :tenant)
            AND (CAST(:ids AS uuid[]) IS NULL AND e.deleted_at IS NULL OR e.id = ANY(CAST(:ids AS uuid[])))
            AND (NOT :behind OR waits.waiting > 0)
        ORDER BY CASE WHEN :behind THEN waits.waiting END DESC, t.slug, e.created_at, e.id LIMIT :limit
    ) AS e LEFT JOIN LATERAL ({_WHY}) AS why ON true
    ORDER BY CASE WHEN :behind THEN e.waiting END DESC, e.tenant, e.created_at, e.id
""")  # noqa: S608 - made of constants
_PLACE = sa.text("""
    SELECT d.tenant_id, t.slug AS tenant, d.endpoint_id FROM webhook_deliveries d JOIN tenants t ON t.id = d.tenant_id
    WHERE d.id = :id AND (CAST(:tenant AS text) IS NULL OR t.slug = :tenant)
""")


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of any tenant. `waiting` deliveries, of which some are due since `due_since`, and `dead` ones.

    `last_...` are of the last attempt that failed of what waits.
    """

    id: UUID
    tenant_id: UUID
    tenant: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    created_at: datetime
    deleted_at: datetime | None
    waiting: int
    due_since: datetime | None
    dead: int
    last_outcome: str | None
    last_status: int | None
    last_response: str | None
    last_at: datetime | None


class DeliveryPlace(NamedTuple):
    """Whose a delivery is."""

    tenant_id: UUID
    tenant: str
    endpoint_id: UUID


async def view_endpoints(
    connection: AsyncConnection,
    *,
    limit: int,
    tenant: str | None = None,
    behind: bool = False,
    ids: Sequence[UUID] | None = None,
) -> tuple[EndpointView, ...]:
    """Endpoints by tenant (a slug: only that one's), or, `behind`, those for which anything waits, the most first.

    Deleted ones only by their `ids`.
    """
    values = {"tenant": tenant, "behind": behind, "ids": None if ids is None else list(ids), "limit": limit}
    return tuple(
        msgspec.convert(dict(row), EndpointView) for row in (await connection.execute(_LIST, values)).mappings()
    )


async def find_endpoints(
    connection: AsyncConnection, ids: Sequence[UUID], *, tenant: str | None = None
) -> tuple[EndpointView, ...]:
    """These endpoints. Raises `MedialaneError(not_found)`, also for one of another tenant than the slug's."""
    found = await view_endpoints(connection, limit=len(ids), tenant=tenant, ids=ids)
    if unknown := set(ids) - {one.id for one in found}:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no webhook endpoint {', '.join(map(str, unknown))}.")
    return found


async def find_delivery(connection: AsyncConnection, delivery_id: UUID, *, tenant: str | None = None) -> DeliveryPlace:
    """Whose a delivery is. Raises `MedialaneError(not_found)`, also for one of another tenant than the slug's."""
    row = (await connection.execute(_PLACE, {"id": delivery_id, "tenant": tenant})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no delivery {delivery_id}.")
    return DeliveryPlace(*row)
