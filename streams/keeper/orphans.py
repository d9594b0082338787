"""Removes objects that no row refers to, in walks over the whole bucket."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from connectors.objectstore.port import Listed, ObjectStore, pages
from connectors.postgres import purge, sweeps
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.metrics import OBJECTS_REMOVED
from schemas.settings import KeeperSettings
from streams.keeper.outages import PASSING, again, both_answer

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_ROOTS = ("media/", "uploads/")  # in the order of keys: a walk goes on after the last one


class Swept(NamedTuple):
    """What a sweep found: objects looked at, orphans, and their bytes."""

    objects: int = 0
    orphans: int = 0
    size: int = 0

    def plus(self, other: "Swept") -> "Swept":
        """Both together."""
        return Swept(*(mine + its for mine, its in zip(self, other, strict=True)))


class Orphans:
    """Walks over the bucket now and then, until cancelled. Of many keepers one does; another goes on in its place."""

    def __init__(self, database: Database, store: ObjectStore, settings: KeeperSettings, metrics: Metrics) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._metrics = metrics

    async def run(self) -> None:
        """Sweep for ever."""
        await again(self.go_on, pause_s=_INTERVAL_S, failed="the sweep was broken off; it goes on later")

    async def go_on(self) -> Swept | None:
        """Walk to the end of the bucket from where the last keeper has come to; None if that is not our turn."""
        async with self._database.transaction() as connection:
            after = await sweeps.take(connection, interval_s=self._settings.sweep_interval_s)
        if after is None:
            return None
        swept, age = Swept(), timedelta(seconds=self._settings.orphan_age_s)
        async for page in self._pages(after):
            swept = swept.plus(await self._look_at(page, age))
            async with self._database.transaction() as connection:
                await sweeps.reach(connection, page[-1].key)
        async with self._database.transaction() as connection:
            await sweeps.end(connection)
        log.info("orphans swept", objects=swept.objects, removed=swept.orphans, size=swept.size)
        return swept

    async def sweep(
        self, age: timedelta, *, dry_run: bool = False, tell: Callable[[Listed], None] = lambda _: None
    ) -> Swept:
        """Remove objects older than `age` that no row refers to, whoever sweeps besides; `tell` hears of each.

        The age covers what is on its way: an object is stored before its row is written.
        """
        swept = Swept()
        async for page in self._pages():
            swept = swept.plus(await self._look_at(page, age, dry_run=dry_run, tell=tell))
        return swept

    async def _pages(self, after: str = "") -> AsyncIterator[tuple[Listed, ...]]:
        for root in _ROOTS:
            if after < root or after.startswith(root):
                async for page in pages(self._store, root, after if after.startswith(root) else None):
                    yield page

    async def _look_at(
        self,
        page: Sequence[Listed],
        age: timedelta,
        *,
        dry_run: bool = False,
        tell: Callable[[Listed], None] = lambda _: None,
    ) -> Swept:
        before, orphans, size = datetime.now(UTC) - age, 0, 0
        old = {one.key: one for one in page if one.modified_at < before}
        async with self._database.transaction() as connection:
            found = await purge.orphans(connection, list(old))
        for key in found:
            if dry_run or await self._removed(key):
                orphans, size = orphans + 1, size + old[key].size
                tell(old[key])
        return Swept(len(page), orphans, size)

    async def _removed(self, key: str) -> bool:
        """Whether it went; one that can not be removed now does not stand before all that come after it.

        Raises `MedialaneError` in an outage: it would be met again with each of them.
        """
        try:
            return await self._remove(key)
        except PASSING as error:
            log.warning("an orphan was not removed", key=key, error=str(error))
            await both_answer(self._database, self._store)
            return False

    async def _remove(self, key: str) -> bool:
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
