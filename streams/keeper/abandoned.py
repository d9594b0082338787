"""Removes uploads that were announced and never completed: what was sent of them, and their rows.

Nobody was told of more than that they might come, so no event tells of their end.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import structlog

from connectors.objectstore.port import ObjectStore
from connectors.postgres.assets import abandoned
from connectors.postgres.assets.abandoned import Abandoned
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.metrics import UPLOADS_ABANDONED
from schemas.settings import KeeperSettings
from streams.bucket import Bucket
from streams.keeper.outages import again, one_of_many

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_PAGE = 200
_FIRST = UUID(int=0)


class SweptUploads(NamedTuple):
    """How many uploads a round found, and the bytes that were announced of them."""

    uploads: int
    size: int


class AbandonedUploads:
    """Sweeps once a minute, until cancelled. Any number of keepers may: an upload's room is given back once."""

    def __init__(self, database: Database, store: ObjectStore, settings: KeeperSettings, metrics: Metrics) -> None:
        self._database = database
        self._bucket = Bucket(database, store)
        self._store = store
        self._age = timedelta(seconds=settings.upload_age_s)
        self._metrics = metrics

    async def run(self) -> None:
        """Sweep for ever."""
        await again(self._round, pause_s=_INTERVAL_S, failed="abandoned uploads were not swept")

    async def _round(self) -> None:
        swept = await self.sweep(self._age)
        if swept.uploads:
            log.info("abandoned uploads removed", uploads=swept.uploads, size=swept.size)

    async def sweep(
        self, age: timedelta, *, dry_run: bool = False, tell: Callable[[Abandoned], None] = lambda _: None
    ) -> SweptUploads:
        """Remove uploads whose last address ended so long ago; `tell` hears of each that was found.

        One that can not be removed now does not stand before the others. Raises `MedialaneError` in an outage.
        """
        uploads = size = 0
        after = _FIRST
        while True:
            async with self._database.transaction() as connection:
                found = await abandoned.find_abandoned(connection, age_s=age.total_seconds(), after=after, limit=_PAGE)
            if found and not dry_run:
                await self._bucket.confirm()
            for upload in found:
                if dry_run or await self._removed(upload, age):
                    uploads, size = uploads + 1, size + upload.size
                    tell(upload)
            if len(found) < _PAGE:
                return SweptUploads(uploads, size)
            after = found[-1].id

    async def _removed(self, upload: Abandoned, age: timedelta) -> bool:
        act, failed = self._remove(upload, age), "an abandoned upload was not removed"
        return bool(await one_of_many(act, self._database, self._store, failed, asset_id=str(upload.id)))

    async def _remove(self, upload: Abandoned, age: timedelta) -> bool:
        # Gone for the tenant first: a complete that comes now finds nothing, and no job meets a missing object.
        async with self._database.transaction() as connection:
            if not await abandoned.mark_abandoned(connection, upload, age_s=age.total_seconds()):
                return False
        if upload.upload_id is not None:
            await self._store.abort_multipart(upload.object_key, upload.upload_id)
        await self._store.delete(upload.object_key)
        async with self._database.transaction() as connection:
            forgotten = await abandoned.forget_abandoned(connection, upload.id)
        if forgotten:
            self._metrics.counter(UPLOADS_ABANDONED, "single" if upload.upload_id is None else "parts").inc()
        return forgotten
