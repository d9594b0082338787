"""Removes from the store what deletes have left."""

import time
from uuid import UUID

import structlog

from connectors.objectstore.port import ObjectStore, pages
from connectors.postgres.assets import purge
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.metrics import OBJECTS_REMOVED
from schemas.settings import KeeperSettings
from streams.bucket import Bucket
from streams.keeper.outages import again, one_of_many

log = structlog.get_logger(__name__)

_INTERVAL_S = 10.0
_BATCH = 50
_KILL_BOUND_S = 20.0
_ACTOR = "keeper"


def _clock() -> float:
    """Seconds that go on while the host is suspended: so does the time for which others wait for us."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Purging:
    """Purges deleted assets every few seconds, until cancelled.

    Any number of keepers may run: an asset is locked by whoever decides on it, and removing twice is removing once.
    """

    def __init__(self, database: Database, store: ObjectStore, settings: KeeperSettings, metrics: Metrics) -> None:
        self._database = database
        self._store = store
        self._bucket = Bucket(database, store)
        self._settings = settings
        self._metrics = metrics

    async def run(self) -> None:
        """Purge for ever."""
        await again(self.purge, pause_s=_INTERVAL_S, failed="the purge was broken off; it goes on later")

    async def purge(self) -> int:
        """Every deleted asset whose time has come; returns how many there were.

        One whose objects can not be removed now is left for the next time, and does not stand before the others. But an
        outage ends the round: each that is begun keeps jobs from its bytes for minutes. Raises `MedialaneError` then.
        """
        bound_s, after, seen = self._settings.lease_s + _KILL_BOUND_S, purge.FIRST, 0
        while True:
            async with self._database.transaction() as connection:
                page = await purge.due(connection, bound_s=bound_s, batch=_BATCH, after=after)
            if page:
                await self._store.check()
                await self._bucket.confirm()
            for one in page:
                act, which = self._purge_one(one.asset_id), str(one.asset_id)
                await one_of_many(act, self._database, self._store, "an asset was not purged", asset_id=which)
            seen += len(page)
            if len(page) < _BATCH:
                return seen
            after = page[-1]

    async def _purge_one(self, asset_id: UUID) -> None:
        async with self._database.transaction() as connection:
            going = await purge.begin(connection, asset_id)
        if going is None:
            return
        if going.upload_id is not None:
            await self._store.abort_multipart(going.source, going.upload_id)
        await self._store.delete(going.source)
        removed, began = 1, _clock()
        for prefix in going.prefixes:
            async for page in pages(self._store, prefix):
                for one in page:
                    if _clock() - began > purge.PURGE_BOUND_S:
                        log.warning("purging took too long; a later round goes on", asset_id=str(asset_id))
                        return
                    await self._store.delete(one.key)
                removed += len(page)
        async with self._database.transaction() as connection:
            await purge.finish(connection, going, objects=removed, actor=_ACTOR)
        self._metrics.counter(OBJECTS_REMOVED, "purge").inc(removed)
        log.info("asset purged", asset_id=str(asset_id), tenant_id=str(going.tenant_id), objects=removed)
