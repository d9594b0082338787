"""Reading assets: rows become what the API shows, variants get signed addresses."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from api.assets.models import (
    AssetListed,
    AssetOut,
    AssetPage,
    AssetSummary,
    DetailsOut,
    JobOut,
    PictureOut,
    StepOut,
    TimelineOut,
    VariantOut,
    variant_out,
)
from api.cursors import position_cursor, position_in
from api.limits.lists import Lists
from api.media.addresses import Addresses, Place
from api.media.formats import Picture, pictures_of
from connectors.postgres.assets.views import (
    AssetFilter,
    AssetRow,
    JobView,
    TimelineEvent,
    list_assets,
    read_asset,
    read_variants,
)
from connectors.postgres.database import Database
from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Variant
from schemas.states import JobState

_SUMMARY = AssetSummary.__struct_fields__


class AssetReader:
    """Shows a tenant its assets."""

    def __init__(self, database: Database, addresses: Addresses, lists: Lists) -> None:
        self._database = database
        self._addresses = addresses
        self._lists = lists

    async def read(self, tenant_id: UUID, asset_id: UUID, *, base: str) -> AssetOut:
        """One asset; its addresses begin with `base`. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(tenant_id) as connection:
            view = await read_asset(connection, tenant_id, asset_id)
        if view is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        place = Place(base, tenant_id, asset_id)
        return AssetOut(
            **_summary(view.asset),
            created_by=view.asset.created_by,
            **self._made(place, view.variants),
            jobs=tuple(shown_job(job) for job in view.jobs),
            timeline=tuple(_event(event) for event in view.events),
        )

    async def page(
        self, tenant_id: UUID, *, limit: int, cursor: str | None, where: AssetFilter, shown_at: str | None = None
    ) -> AssetPage:
        """A page of assets, with their variants by addresses that begin with `shown_at`, if that is given.

        Raises `MedialaneError`: invalid_request for a cursor that is none, rate_limited while too many of the tenant's
        lists are under way, query_timeout.
        """
        after = None if cursor is None else position_in(cursor)
        async with self._lists.begun(tenant_id) as connection:
            # One more than asked for, to know whether there is a next page.
            rows = await list_assets(connection, tenant_id, limit=limit + 1, after=after, where=where)
            shown = rows[:limit]
            made: dict[UUID, dict[str, Any]] = {}
            if shown_at is not None:
                variants = await read_variants(connection, tenant_id, [row.id for row in shown])
                made = {
                    row.id: self._made(Place(shown_at, tenant_id, row.id), variants.get(row.id, ())) for row in shown
                }
        more = len(rows) > limit
        return AssetPage(
            items=tuple(AssetListed(**_summary(row), **made.get(row.id, {})) for row in shown),
            next_cursor=position_cursor(Position(shown[-1].created_at, shown[-1].id)) if more else None,
        )

    def _made(self, place: Place, variants: Sequence[Variant]) -> dict[str, Any]:
        """What is shown of what was made of an asset."""
        return {
            "variants": tuple(self._variant(place, variant) for variant in variants),
            "pictures": tuple(self._picture(place, picture) for picture in pictures_of(variants)),
        }

    def _variant(self, place: Place, variant: Variant) -> VariantOut:
        address = self._addresses.of_variant(place, variant)
        return variant_out(variant, address.url, address.expires_at)

    def _picture(self, place: Place, picture: Picture) -> PictureOut:
        address = self._addresses.of_picture(place, picture.name)
        return PictureOut(
            name=picture.name,
            content_types=picture.content_types,
            url=address.url,
            url_expires_at=address.expires_at,
        )


def _summary(row: AssetRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in _SUMMARY}
    return found | {"details": row.details and DetailsOut(**msgspec.structs.asdict(row.details))}


def shown_job(job: JobView) -> JobOut:
    """A job as the API shows it; its report may be of another release."""
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
        attempts=job.attempts + (job.state == JobState.DONE),  # the row counts those that failed
        progress=job.progress,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cpu_s=report.get("cpu_s"),
        steps=tuple(steps),
    )


def _event(event: TimelineEvent) -> TimelineOut:
    return TimelineOut(**msgspec.structs.asdict(event))
