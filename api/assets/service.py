"""Reading assets: rows become what the API shows, variants get signed addresses."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from api.assets.cursor import decode_cursor, encode_cursor
from api.assets.models import AssetOut, AssetPage, AssetSummary, DetailsOut, JobOut, StepOut, TimelineOut, VariantOut
from connectors.objectstore.port import ObjectStore
from connectors.postgres.asset_views import (
    AssetFilter,
    AssetRow,
    JobView,
    Position,
    TimelineEvent,
    list_assets,
    read_asset,
)
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Variant

_SUMMARY = AssetSummary.__struct_fields__


class AssetReader:
    """Shows a tenant its assets."""

    def __init__(self, database: Database, store: ObjectStore, *, variant_ttl_s: int) -> None:
        self._database = database
        self._store = store
        self._variant_ttl_s = variant_ttl_s

    async def read(self, tenant_id: UUID, asset_id: UUID) -> AssetOut:
        """One asset. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(tenant_id) as connection:
            view = await read_asset(connection, tenant_id, asset_id)
        if view is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return AssetOut(
            **_summary(view.asset),
            variants=tuple(self._variant(variant) for variant in view.variants),
            jobs=tuple(_job(job) for job in view.jobs),
            timeline=tuple(_event(event) for event in view.events),
        )

    async def page(self, tenant_id: UUID, *, limit: int, cursor: str | None, where: AssetFilter) -> AssetPage:
        """A page of assets. Raises `MedialaneError(invalid_request)` for a cursor that is none."""
        after = None if cursor is None else decode_cursor(cursor)
        async with self._database.tenant(tenant_id) as connection:
            # One more than asked for, to know whether there is a next page.
            rows = await list_assets(connection, tenant_id, limit=limit + 1, after=after, where=where)
        shown = rows[:limit]
        more = len(rows) > limit
        return AssetPage(
            items=tuple(AssetSummary(**_summary(row)) for row in shown),
            next_cursor=encode_cursor(Position(shown[-1].created_at, shown[-1].id)) if more else None,
        )

    def _variant(self, variant: Variant) -> VariantOut:
        signed = self._store.presign_get(variant.object_key, self._variant_ttl_s)
        fields = msgspec.structs.asdict(variant)
        del fields["object_key"]
        return VariantOut(**fields, url=signed.url, url_expires_at=signed.expires_at)


def _summary(row: AssetRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in _SUMMARY}
    return found | {"details": row.details and DetailsOut(**msgspec.structs.asdict(row.details))}


def _job(job: JobView) -> JobOut:
    report = job.report or {}
    steps = (
        StepOut(
            name=step["name"], started_at=datetime.fromtimestamp(step["started_at_unix"], UTC), seconds=step["seconds"]
        )
        for step in report.get("stages", ())
    )
    return JobOut(
        id=job.id,
        generation=job.generation,
        stage=job.stage,
        state=job.state,
        waiting_for=job.reason,
        attempts=job.attempts,
        progress=job.progress,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cpu_s=report.get("cpu_s"),
        steps=tuple(steps),
    )


def _event(event: TimelineEvent) -> TimelineOut:
    return TimelineOut(**msgspec.structs.asdict(event))
