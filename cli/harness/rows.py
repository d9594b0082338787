"""What the database says about an asset, beside what the API says: outbox rows, jobs, dead letters.

For the demo, the bench and the tests, which prove that the two agree. Read-only; uses the worker role.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from connectors.postgres.database import Database

_OUTBOX = sa.text("""
    SELECT o.id, o.aggregatetype AS route, o.aggregateid AS subject_id, o.type, o.traceparent, o.created_at
    FROM outbox o
    WHERE o.aggregateid = :asset_id
        OR o.aggregateid IN (SELECT id::text FROM jobs WHERE asset_id = CAST(:asset_id AS uuid))
    ORDER BY o.created_at, o.id
""")
_JOBS = sa.text("""
    SELECT id, stage, state, dispatch, epoch, attempts, deaths, owner, created_at, started_at, finished_at, report
    FROM jobs WHERE asset_id = :asset_id ORDER BY created_at
""")
_DEAD = sa.text("SELECT id, code, detail FROM dead_letters WHERE asset_id = :asset_id")
_EVENTS = sa.text("SELECT type, subject, created_at FROM asset_events WHERE asset_id = :asset_id ORDER BY seq")


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the connector carries to the topic `<prefix>.<route>`; `created_at` is its transaction's begin."""

    id: UUID
    route: str
    subject_id: str
    type: str
    traceparent: str | None
    created_at: datetime


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job's row; `report` is what processing cost, step by step."""

    id: UUID
    stage: str
    state: str
    dispatch: int
    epoch: int
    attempts: int
    deaths: int
    owner: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    report: dict[str, Any] | None


class Buried(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter's code and detail."""

    id: UUID
    code: str
    detail: str


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an asset in the order of its sequence numbers."""

    type: str
    subject: str
    created_at: datetime


class AssetRows:
    """Reads rows about one asset at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def outbox(self, asset_id: UUID) -> list[OutboxRow]:
        """Every outbox row about the asset and its jobs."""
        return [OutboxRow(**row) for row in await self._rows(_OUTBOX, str(asset_id))]

    async def jobs(self, asset_id: UUID) -> list[JobRow]:
        """The asset's jobs, oldest first."""
        return [JobRow(**row) for row in await self._rows(_JOBS, asset_id)]

    async def dead_letters(self, asset_id: UUID) -> list[Buried]:
        """What was given up about the asset."""
        return [Buried(**row) for row in await self._rows(_DEAD, asset_id)]

    async def events(self, asset_id: UUID) -> list[EventRow]:
        """The asset's events in order."""
        return [EventRow(**row) for row in await self._rows(_EVENTS, asset_id)]

    async def _rows(self, query: sa.TextClause, asset_id: UUID | str) -> Sequence[dict[str, Any]]:
        async with self._database.transaction() as connection:
            found = await connection.execute(query, {"asset_id": asset_id})
            return [dict(row) for row in found.mappings()]
