"""Events as the timelines keep them, a tenant's assets page by page: for readers that need more than the topic has."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.paging import Position

_ASSETS = sa.text("""
    SELECT id, created_at FROM assets
    WHERE tenant_id = :tenant_id AND (created_at, id) > (:created_at, :id) ORDER BY created_at, id LIMIT :look_at
""")
_EVENTS = sa.text("""
    SELECT id, asset_id, tenant_id, seq, type, payload FROM asset_events
    WHERE tenant_id = :tenant_id AND asset_id = ANY(CAST(:assets AS uuid[]))
        AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
        AND (CAST(:types AS text[]) IS NULL OR type = ANY(CAST(:types AS text[])))
    ORDER BY asset_id, seq
""")


class Told(NamedTuple):
    """An event that was told: its payload is the JSON text that Kafka and webhooks carry."""

    id: UUID
    asset_id: UUID
    tenant_id: UUID
    seq: int
    type: str
    payload: str


class Page(NamedTuple):
    """Events, each asset's in order, and where to look on; nowhere, if no asset was left to look at."""

    events: tuple[Told, ...]
    next: Position | None


async def read_page(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    place: Position,
    look_at: int,
    since: datetime | None = None,
    types: Collection[str] = (),
) -> Page:
    """The events of a tenant's next `look_at` assets from a place on, of any type if none is named.

    An older asset may have had one `since`, so all are looked at.
    """
    rows = (await connection.execute(_ASSETS, place._asdict() | {"tenant_id": tenant_id, "look_at": look_at})).all()
    if not rows:
        return Page((), None)
    values = {
        "tenant_id": tenant_id, "assets": [row.id for row in rows], "since": since, "types": list(types) or None,
    }  # fmt: skip
    events = tuple(Told(*row) for row in await connection.execute(_EVENTS, values))
    return Page(events, Position(rows[-1].created_at, rows[-1].id))
