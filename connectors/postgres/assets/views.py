"""Assets as they are read: one with its variants, jobs and timeline, or a page of many."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.json_text import json_text
from connectors.postgres.paging import Position
from schemas.details import Details
from schemas.events import Variant
from schemas.states import AssetState, MediaKind

T = TypeVar("T")

_OWN = """
    id, state, generation, kind, file_name, content_type, size, object_key, width, height, duration_s, details,
    error_code, error_detail, created_at, uploaded_at, finished_at, metadata, tags, profiles, created_by
"""
_COLUMNS = f"""
    {_OWN}, coalesce((
        SELECT progress FROM jobs
        WHERE asset_id = assets.id AND stage = assets.kind || '.primary' AND generation = assets.generation
    ), 0) AS progress
"""  # noqa: S608 - made of constants
_ONE = sa.text(f"""
    SELECT {_COLUMNS} FROM assets WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'
""")  # noqa: S608 - made of constants
# Each in the statement only when it is used: the planner then sees what it may look for by an index. The row comparison
# lets that carry the page, however deep it lies.
_FILTERS = {
    "state": "state = :state",
    "kind": "kind = :kind",
    "from": "created_at >= :from",
    "to": "created_at < :to",
    "before_time": "(created_at, id) < (CAST(:before_time AS timestamptz), CAST(:before_id AS uuid))",
    "tags": "tags @> CAST(:tags AS text[]) AND metadata @> CAST(:metadata AS jsonb)",
}
# What an array or a document holds is no condition that an index of `assets` can serve under row-level security: `@>`
# may leak what it sees. `asset_terms` has each tag and entry (as hashes: the row itself decides) in the order of pages.
_TERM = """(
    SELECT asset_id, created_at AS made_at FROM asset_terms
    WHERE tenant_id = :tenant_id AND term = (terms_of(CAST(:tags AS text[]), CAST(:metadata AS jsonb)))[{number}]{more}
) AS term_{number}"""
# Of a tag that many have and a state that few are in, neither is walked to its end: both are in this order.
_STANDING = """(
    SELECT id AS asset_id, created_at AS made_at FROM assets
    WHERE tenant_id = :tenant_id AND deleted_at IS NULL{more}
) AS standing"""
# By its statistics a tenant may have so many of both that joining all of them looks cheaper than to walk until the page
# is full.
_IN_PAGE_ORDER = sa.text(
    "SELECT "
    + ", ".join(f"set_config('enable_{way}', 'off', true)" for way in ("hashjoin", "sort", "bitmapscan", "seqscan"))
)
_TERM_FILTERS = {
    "from": _FILTERS["from"],
    "to": _FILTERS["to"],
    "before_time": "(created_at, asset_id) < (CAST(:before_time AS timestamptz), CAST(:before_id AS uuid))",
}
_VARIANTS = sa.text("""
    SELECT asset_id, profile, content_type, width, height, size, encode(sha256, 'hex') AS sha256, object_key, duration_s
    FROM variants WHERE tenant_id = :tenant_id AND asset_id = ANY(:ids) ORDER BY asset_id, created_at, profile
""")
_JOBS = sa.text("""
    SELECT id, generation, stage, state, reason, attempts, progress, report, created_at, started_at, finished_at
    FROM jobs WHERE tenant_id = :tenant_id AND asset_id = :id ORDER BY generation, created_at
""")
_EVENTS = sa.text("""
    SELECT seq, type, subject, generation, created_at AS time FROM asset_events
    WHERE tenant_id = :tenant_id AND asset_id = :id ORDER BY seq
""")
_STATE = sa.text("SELECT state FROM assets WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'")
_PROGRESS = sa.text("""
    SELECT state, EXISTS (
        SELECT FROM jobs WHERE asset_id = assets.id AND jobs.state IN ('waiting', 'queued', 'running')
    ) AS working FROM assets WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'
""")
_EVENTS_AFTER = sa.text("""
    SELECT seq, type, payload FROM asset_events
    WHERE tenant_id = :tenant_id AND asset_id = :id AND seq > :after ORDER BY seq LIMIT :limit
""")


class StoredEvent(NamedTuple):
    """An event as it was written: its payload is the JSON that Kafka and webhooks carry."""

    seq: int
    type: str
    payload: str


class AssetRow(msgspec.Struct, frozen=True, kw_only=True):
    """An asset; sizes in bytes, pixels and seconds, as far as they are known yet. `state` and `kind` are words of
    `schemas.states`, or of a newer release.
    """

    id: UUID
    state: str
    generation: int
    kind: str
    file_name: str
    content_type: str
    size: int
    object_key: str
    width: int | None
    height: int | None
    duration_s: float | None
    details: Details | None
    error_code: str | None
    error_detail: str | None
    created_at: datetime
    uploaded_at: datetime | None
    finished_at: datetime | None
    metadata: dict[str, str]
    tags: tuple[str, ...]
    profiles: tuple[str, ...] | None
    created_by: str | None
    progress: int


class AssetFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets to list: all of what is given has to fit. `created_to` itself is not among them."""

    state: AssetState | None = None
    kind: MediaKind | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()


EVERY_ASSET = AssetFilter()


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job of an asset; `report` is what the worker measured of it. `stage` and `state` may be a newer release's."""

    id: UUID
    generation: int
    stage: str
    state: str
    reason: str | None
    attempts: int
    progress: int
    report: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TimelineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an asset: its number, type, and what it is about (a profile, a stage, or nothing)."""

    seq: int
    type: str
    subject: str
    generation: int
    time: datetime


class AssetView(NamedTuple):
    """Everything about one asset."""

    asset: AssetRow
    variants: tuple[Variant, ...]
    jobs: tuple[JobView, ...]
    events: tuple[TimelineEvent, ...]


async def read_asset(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> AssetView | None:
    """One asset; None if the tenant has no such one."""
    key = {"tenant_id": tenant_id, "id": asset_id}
    row = (await connection.execute(_ONE, key)).mappings().one_or_none()
    if row is None:
        return None
    jobs = (await connection.execute(_JOBS, key)).mappings()
    events = (await connection.execute(_EVENTS, key)).mappings()
    # Last: a job may end between two statements, and whoever sees it ended has to see what it made.
    variants = await read_variants(connection, tenant_id, [asset_id])
    return AssetView(
        asset=_convert(row, AssetRow),
        variants=variants.get(asset_id, ()),
        jobs=tuple(_convert(job, JobView) for job in jobs),
        events=tuple(_convert(event, TimelineEvent) for event in events),
    )


async def list_assets(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    limit: int,
    after: Position | None = None,
    where: AssetFilter = EVERY_ASSET,
) -> tuple[AssetRow, ...]:
    """Up to `limit` assets, newest first, from after a position."""
    given = {
        "tenant_id": tenant_id, "limit": limit, "state": where.state and where.state.value,
        "kind": where.kind and where.kind.value, "from": where.created_from, "to": where.created_to,
        "before_time": after and after.created_at, "before_id": after and after.id,
    }  # fmt: skip
    values = {name: value for name, value in given.items() if value is not None}
    tags = list(dict.fromkeys(where.tags))
    if terms := len(tags) + len(where.metadata):
        values |= {"tags": tags, "metadata": json_text(where.metadata)}
        await connection.execute(_IN_PAGE_ORDER)
    statement = _page(tuple(name for name in _FILTERS if name in values), terms)
    return tuple(_convert(row, AssetRow) for row in (await connection.execute(statement, values)).mappings())


async def read_state(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> str | None:
    """An asset's state alone; None if the tenant has no such one."""
    found: str | None = (
        await connection.execute(_STATE, {"tenant_id": tenant_id, "id": asset_id})
    ).scalar_one_or_none()
    return found


async def read_progress(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> tuple[str, bool] | None:
    """An asset's state, and whether a job of it has not ended; None if the tenant has no such asset."""
    row = (await connection.execute(_PROGRESS, {"tenant_id": tenant_id, "id": asset_id})).one_or_none()
    return None if row is None else (row.state, bool(row.working))


async def read_events(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, after: int, limit: int
) -> tuple[StoredEvent, ...]:
    """An asset's events after a sequence number, in order, as they went to Kafka."""
    values = {"tenant_id": tenant_id, "id": asset_id, "after": after, "limit": limit}
    return tuple(StoredEvent(*row) for row in await connection.execute(_EVENTS_AFTER, values))


async def read_variants(
    connection: AsyncConnection, tenant_id: UUID, asset_ids: Sequence[UUID]
) -> dict[UUID, tuple[Variant, ...]]:
    """The variants of assets, by asset; assets without any are left out."""
    found: dict[UUID, tuple[Variant, ...]] = {}
    for row in (await connection.execute(_VARIANTS, {"tenant_id": tenant_id, "ids": list(asset_ids)})).mappings():
        fields = dict(row)
        asset_id = fields.pop("asset_id")
        found[asset_id] = (*found.get(asset_id, ()), Variant(**fields))
    return found


@cache
def _page(filters: tuple[str, ...], terms: int) -> sa.TextClause:
    if terms:
        return _page_of_terms(filters, terms)
    return sa.text(f"""
        SELECT {_COLUMNS} FROM assets WHERE tenant_id = :tenant_id AND deleted_at IS NULL{_all_of(_FILTERS, filters)}
        ORDER BY created_at DESC, id DESC LIMIT :limit
    """)  # noqa: S608 - made of constants


def _page_of_terms(filters: Sequence[str], terms: int) -> sa.TextClause:
    walked = [_TERM.format(number=number, more=_all_of(_TERM_FILTERS, filters)) for number in range(1, terms + 1)]
    if "state" in filters or "kind" in filters:
        walked.append(_STANDING.format(more=_all_of(_FILTERS, [name for name in filters if name != "tags"])))
    joined = walked[0] + "".join(f" JOIN {one} USING (made_at, asset_id)" for one in walked[1:])
    # OFFSET keeps what is asked of the row itself apart: the planner would take it for what makes the page short.
    return sa.text(f"""
        SELECT {_COLUMNS} FROM {joined} CROSS JOIN LATERAL (
            SELECT {_OWN} FROM assets WHERE tenant_id = :tenant_id AND id = asset_id AND deleted_at IS NULL
                {_all_of(_FILTERS, filters)} OFFSET 0
        ) AS assets
        ORDER BY made_at DESC, asset_id DESC LIMIT :limit
    """)  # noqa: S608 - made of constants


def _all_of(conditions: Mapping[str, str], names: Sequence[str]) -> str:
    return "".join(f" AND {conditions[name]}" for name in names if name in conditions)


def _convert(row: sa.RowMapping, kind: type[T]) -> T:
    return msgspec.convert(dict(row), kind)
