"""Webhook deliveries as they are read: one with its attempts, or a page of many.

They lie in the order of their events' ids, which begin with the time: so an endpoint's newest are found by the index
that keeps an event from being delivered twice. What no index tells (a type, say) is looked for among so many at a time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.states import DeliveryState

MOST_WALKED = 10_000
"""Deliveries that a page is sought among, at most: it may hold less than was asked for, and still have a next one."""
MOST_ATTEMPTS = 100
"""How many attempts of a delivery are shown, the last ones."""

_COLUMNS = """
    d.id, d.endpoint_id, d.event_id, d.event_type, d.asset_id, d.state, d.attempts, d.due_at, d.created_at,
    d.finished_at
"""
_LAST = """
    LEFT JOIN LATERAL (
        SELECT outcome, status FROM webhook_attempts
        WHERE delivery_id = d.id AND outcome IS NOT NULL ORDER BY attempt DESC LIMIT 1
    ) AS last ON true
"""
# Each in the statement only when it is used. Those of the first kind have an index of their own, which the planner
# finds only by the very word; the last are asked of what was walked over.
_ORDERED = {"dead": "AND state = 'dead'", "asset_id": "AND asset_id = :asset_id", "before": "AND event_id < :before"}
# By an index of another order, which is named lest all endpoints' are gathered.
_GATHERED = {
    "waiting": "AND state = 'waiting' ORDER BY due_at",
    "sending": "AND state = 'sending' ORDER BY lease_until",
}
_ASKED = {
    "delivered": "AND d.state = 'delivered'",
    "waiting among others": "AND d.state = 'waiting'",
    "event_type": "AND d.event_type = :event_type",
}
_MANY_WAIT = sa.text("""
    SELECT true FROM webhook_deliveries
    WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND state = 'waiting'
    ORDER BY due_at LIMIT 1 OFFSET :most
""")
_KNOWN = sa.text("""
    SELECT true FROM webhook_endpoints WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL
""")
_ONE = sa.text(f"""
    SELECT {_COLUMNS}, d.payload, last.outcome AS last_outcome, last.status AS last_status
    FROM webhook_deliveries d {_LAST}
    WHERE d.tenant_id = :tenant_id AND d.endpoint_id = :endpoint_id AND d.id = :id
""")  # noqa: S608 - made of constants
_ATTEMPTS = sa.text("""
    SELECT attempt AS number, started_at, finished_at, outcome, status, response, traceparent,
        extract(epoch FROM finished_at - started_at)::float8 AS duration_s
    FROM webhook_attempts WHERE tenant_id = :tenant_id AND delivery_id = :id ORDER BY attempt DESC LIMIT :most
""")


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery; `attempts` were begun, and of the last that ended there are outcome and status, if it has one."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    asset_id: UUID
    state: DeliveryState
    attempts: int
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_outcome: str | None
    last_status: int | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt; without `outcome` it is under way, or was lost with its process.

    `duration_s` is from lease to commit, `response` the start of what was answered, or why nothing was.
    """

    number: int
    started_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    outcome: str | None
    status: int | None
    response: str | None
    traceparent: str | None


class DeliveryView(NamedTuple):
    """Everything about one delivery; `payload` is the body as it is sent, `attempts` the last ones in their order."""

    delivery: DeliveryRow
    payload: str
    attempts: tuple[AttemptRow, ...]


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to list: all of what is given has to fit."""

    state: DeliveryState | None = None
    event_type: str | None = None
    asset_id: UUID | None = None


EVERY_DELIVERY = DeliveryFilter()


class Page(NamedTuple):
    """Deliveries, the newest events first; `after` is the event to go on from, None at the end."""

    deliveries: tuple[DeliveryRow, ...]
    after: UUID | None


async def knows_endpoint(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Whether the tenant has such an endpoint, and has not deleted it."""
    values = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    return (await connection.execute(_KNOWN, values)).one_or_none() is not None


async def list_deliveries(
    connection: AsyncConnection,
    tenant_id: UUID,
    endpoint_id: UUID,
    *,
    limit: int,
    after: UUID | None = None,
    where: DeliveryFilter = EVERY_DELIVERY,
) -> Page:
    """Up to `limit` deliveries to an endpoint, the newest events first, from after an event.

    No more than `MOST_WALKED` are looked at.
    """
    given = {"asset_id": where.asset_id, "before": after, "event_type": where.event_type}
    values = {name: value for name, value in given.items() if value is not None}
    keys = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    names = (*values, *await _words(connection, where.state, keys))
    # One more than asked for, to know whether there is a next page.
    rows = await connection.execute(_page(names), values | keys | {"limit": limit + 1, "most": MOST_WALKED})
    found = tuple(msgspec.convert(dict(row), DeliveryRow) for row in rows.mappings())
    if len(found) > limit:
        return Page(found[:limit], found[limit - 1].event_id)
    if not any(name in _ASKED for name in names):
        return Page(found, None)
    walked = {name: value for name, value in values.items() if name not in _ASKED}
    end = await connection.execute(_end(names), walked | keys | {"most": MOST_WALKED})
    return Page(found, end.scalar_one_or_none())


async def read_delivery(
    connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID, delivery_id: UUID
) -> DeliveryView | None:
    """One delivery; None if there is no such one to this endpoint of the tenant."""
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "id": delivery_id}
    row = (await connection.execute(_ONE, key)).mappings().one_or_none()
    if row is None:
        return None
    fields = dict(row)
    payload = fields.pop("payload")
    attempts = await _attempts(connection, tenant_id, delivery_id)
    return DeliveryView(msgspec.convert(fields, DeliveryRow), payload, tuple(attempts))


async def _attempts(connection: AsyncConnection, tenant_id: UUID, delivery_id: UUID) -> Sequence[AttemptRow]:
    values = {"tenant_id": tenant_id, "id": delivery_id, "most": MOST_ATTEMPTS}
    rows = (await connection.execute(_ATTEMPTS, values)).mappings()
    return [msgspec.convert(dict(row), AttemptRow) for row in rows][::-1]


async def _words(
    connection: AsyncConnection, state: DeliveryState | None, keys: Mapping[str, object]
) -> tuple[str, ...]:
    """How a state is asked for. What waits is sorted, unless there is so much that the newest will do as well."""
    if state is DeliveryState.WAITING:
        many = await connection.execute(_MANY_WAIT, {**keys, "most": MOST_WALKED})
        return ("waiting",) if many.one_or_none() is None else ("waiting among others",)
    return () if state is None else (state.value,)


def _walk(names: Sequence[str], columns: str) -> str:
    """The deliveries among which a page is sought, the newest events first."""
    source = "webhook_deliveries"
    for name in names:
        if name in _GATHERED:
            # By itself: with more conditions the planner would expect so few that any index would do.
            source = f"""(
                SELECT tenant_id, {_COLUMNS.replace("d.", "")} FROM webhook_deliveries
                WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id {_GATHERED[name]} LIMIT :most
            ) AS gathered"""  # noqa: S608 - made of constants
    more = " ".join(_ORDERED[name] for name in names if name in _ORDERED)
    return f"""
        SELECT {columns} FROM {source} WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id {more}
        ORDER BY event_id DESC
    """  # noqa: S608 - made of constants


@cache
def _page(names: tuple[str, ...]) -> sa.TextClause:
    asked = " ".join(_ASKED[name] for name in names if name in _ASKED)
    inner = _walk(names, _COLUMNS.replace("d.", ""))
    return sa.text(f"""
        SELECT {_COLUMNS}, last.outcome AS last_outcome, last.status AS last_status FROM (
            SELECT {_COLUMNS} FROM ({inner} LIMIT :most) AS d WHERE true {asked} ORDER BY d.event_id DESC LIMIT :limit
        ) AS d {_LAST} ORDER BY d.event_id DESC
    """)  # noqa: S608 - made of constants


@cache
def _end(names: tuple[str, ...]) -> sa.TextClause:
    """Where a walk of so many ends; nothing if there are not so many."""
    return sa.text(_walk(names, "event_id") + "LIMIT 1 OFFSET :most - 1")
