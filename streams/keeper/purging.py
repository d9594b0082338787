"""Removes from the store what deletes have left, and what no row refers to: the one place where variants go."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog

from connectors.objectstore.port import Listed, ObjectStore
from connectors.postgres import purge
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.errors import MedialaneError
from schemas.metrics import OBJECTS_REMOVED
from schemas.settings import KeeperSettings

log = structlog.get_logger(__name__)

_INTERVAL_S = 10.0
_BATCH = 50
_ROOTS = ("uploads/", "media/")
_KILL_BOUND_S = 20.0
_ACTOR = "keeper"


class Swept(NamedTuple):
    """What a sweep found: objects looked at, orphans, and their bytes."""

    objects: int
    orphans: int
    size: int


class Purging:
    """Purges deleted assets every few seconds, and sweeps orphans now and then, until cancelled.

    Any number of keepers may run: an asset is locked by whoever decides on it, and removing twice is removing once.
    """

    def __init__(self, database: Database, store: ObjectStore, settings: KeeperSettings, metrics: Metrics) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._swept_at = time.monotonic()

    async def run(self) -> None:
        """Purge and sweep for ever; an outage of the database or the store is waited out."""
        while True:
            try:
                await self.purge()
                if time.monotonic() - self._swept_at > self._settings.sweep_interval_s:
                    self._swept_at = time.monotonic()
                    swept = await self.sweep(timedelta(seconds=self._settings.orphan_age_s))
                    log.info("orphans swept", objects=swept.objects, removed=swept.orphans, size=swept.size)
            except MedialaneError as error:
                log.warning("nothing was purged", error=str(error))
            await asyncio.sleep(_INTERVAL_S)

    async def purge(self) -> int:
        """Every deleted asset whose time has come; returns how many there were.

        One whose objects can not be removed now is left for the next time, and does not stand before the others.
        """
        bound_s, after, seen = self._settings.lease_s + _KILL_BOUND_S, purge.FIRST, 0
        while True:
            async with self._database.transaction() as connection:
                page = await purge.due(connection, bound_s=bound_s, batch=_BATCH, after=after)
            for one in page:
                try:
                    await self._purge_one(one.asset_id)
                except MedialaneError as error:
                    log.warning("an asset was not purged", asset_id=str(one.asset_id), error=str(error))
            seen += len(page)
            if len(page) < _BATCH:
                return seen
            after = page[-1]

    async def sweep(
        self, age: timedelta, *, dry_run: bool = False, tell: Callable[[Listed], None] = lambda _: None
    ) -> Swept:
        """Remove objects older than `age` that no row refers to; `tell` hears of each that was found.

        The age covers what is on its way: an object is stored before its row is written.
        """
        seen = orphans = size = 0
        before = datetime.now(UTC) - age
        for root in _ROOTS:
            async for page in self._pages(root):
                seen += len(page)
                old = {one.key: one for one in page if one.modified_at < before}
                async with self._database.transaction() as connection:
                    found = await purge.orphans(connection, list(old))
                for key in found:
                    if dry_run or await self._remove_orphan(key):
                        orphans, size = orphans + 1, size + old[key].size
                        tell(old[key])
        return Swept(seen, orphans, size)

    async def _purge_one(self, asset_id: UUID) -> None:
        async with self._database.transaction() as connection:
            going = await purge.begin(connection, asset_id)
        if going is None:
            return
        if going.upload_id is not None:
            await self._store.abort_multipart(going.source, going.upload_id)
        await self._store.delete(going.source)
        removed, began = 1, time.monotonic()
        for prefix in going.prefixes:
            async for page in self._pages(prefix):
                for one in page:
                    if time.monotonic() - began > purge.PURGE_BOUND_S:
                        log.warning("purging took too long; a later round goes on", asset_id=str(asset_id))
                        return
                    await self._store.delete(one.key)
                removed += len(page)
        async with self._database.transaction() as connection:
            await purge.finish(connection, going, objects=removed, actor=_ACTOR)
        self._metrics.counter(OBJECTS_REMOVED, "purge").inc(removed)
        log.info("asset purged", asset_id=str(asset_id), tenant_id=str(going.tenant_id), objects=removed)

    async def _remove_orphan(self, key: str) -> bool:
        content = purge.content_of(key)
        if content is not None:
            async with self._database.transaction() as connection:
                if not await purge.hold_content(connection, *content):
                    return False
        try:
            # Asked again under the mark: a job may have adopted it, and written its row, a moment ago.
            async with self._database.transaction() as connection:
                if not await purge.orphans(connection, [key]):
                    return False
            await self._store.delete(key)
        finally:
            if content is not None:
                async with self._database.transaction() as connection:
                    await purge.let_go_of_content(connection, *content)
        self._metrics.counter(OBJECTS_REMOVED, "orphan").inc()
        return True

    async def _pages(self, prefix: str) -> AsyncIterator[tuple[Listed, ...]]:
        after: str | None = None
        while page := await self._store.list_page(prefix, after):
            yield page
            after = page[-1].key
