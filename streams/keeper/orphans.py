"""Removes objects that no row refers to, in walks over the whole bucket."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from connectors.objectstore.port import Listed, ObjectStore, pages
from connectors.postgres.assets import purge, sweeps
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import BUCKET_MISMATCH, OBJECTS_REMOVED, SWEEP_STOPPED
from schemas.settings import KeeperSettings
from streams.bucket import ROOTS, Bucket, ForeignBucketError
from streams.keeper.outages import again, one_of_many

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0

# Hardly anything is strange: a worker died between storing and noting. Where much is, rows are missing rather, as in a
# database that was restored, or another's; then people decide.
_FEW, _LARGEST_SHARE = 100, 0.2


class Swept(NamedTuple):
    """What a sweep found: objects looked at, how many of them were old enough, strange ones among those, and orphans,
    which went, with their bytes.
    """

    objects: int = 0
    old: int = 0
    strange: int = 0
    orphans: int = 0
    size: int = 0

    def plus(self, other: "Swept") -> "Swept":
        """Both together."""
        return Swept(*(mine + its for mine, its in zip(self, other, strict=True)))


class TooManyOrphansError(MedialaneError):
    """A walk was stopped before so large a share of what it met would have gone; the detail counts up to there."""

    def __init__(self, met: Swept) -> None:
        detail = (
            f"The sweep was stopped: of {met.old:,} objects that are old enough, {met.strange:,} are of uploads of "
            "which no row knows anything. If no rows were lost: `medialane uploads sweep --apply --force`."
        )
        super().__init__(ErrorCode.CONFLICT, detail)


class Orphans:
    """Walks over the bucket now and then, until cancelled. Of many keepers one does; another goes on in its place."""

    def __init__(self, database: Database, store: ObjectStore, settings: KeeperSettings, metrics: Metrics) -> None:
        self._database = database
        self._bucket = Bucket(database, store)
        self._store = store
        self._settings = settings
        self._metrics = metrics

    async def run(self) -> None:
        """Sweep for ever."""
        await again(self.go_on, pause_s=_INTERVAL_S, failed="the sweep was broken off; it goes on later")

    async def go_on(self) -> Swept | None:
        """Walk to the end of the bucket from where the last keeper has come to; None if that is not our turn."""
        await self._confirm()
        async with self._database.transaction() as connection:
            self._metrics.gauge(SWEEP_STOPPED).set(await sweeps.was_stopped(connection))
            after = await sweeps.take(connection, interval_s=self._settings.sweep_interval_s)
        if after is None:
            return None
        swept, age = Swept(), timedelta(seconds=self._settings.orphan_age_s)
        try:
            async for page in self._pages(after):
                swept = await self._look_at(swept, page, age)
                async with self._database.transaction() as connection:
                    await sweeps.reach(connection, page[-1].key)
        except TooManyOrphansError as error:
            log.error("orphans are left to people", error=str(error))  # noqa: TRY400 - nothing broke
            self._metrics.gauge(SWEEP_STOPPED).set(1)
            async with self._database.transaction() as connection:
                await sweeps.end(connection, stopped=True)
            return swept
        async with self._database.transaction() as connection:
            await sweeps.end(connection, stopped=False)
        self._metrics.gauge(SWEEP_STOPPED).set(0)
        log.info("orphans swept", objects=swept.objects, removed=swept.orphans, size=swept.size)
        return swept

    async def sweep(
        self,
        age: timedelta,
        *,
        dry_run: bool = False,
        force: bool = False,
        tell: Callable[[Listed], None] = lambda _: None,
    ) -> Swept:
        """Remove objects older than `age` that no row refers to, whoever sweeps besides; `tell` hears of each.

        The age covers what is on its way: an object is stored before its row is written. Raises `TooManyOrphansError`
        where too large a share would go, unless with `force`.
        """
        if not dry_run:
            await self._bucket.confirm()
        swept = Swept()
        async for page in self._pages():
            swept = await self._look_at(swept, page, age, dry_run=dry_run, force=force, tell=tell)
        if not dry_run:
            async with self._database.transaction() as connection:
                await sweeps.forget_stop(connection)
        return swept

    async def _confirm(self) -> None:
        try:
            await self._bucket.confirm()
        except ForeignBucketError as error:
            self._metrics.gauge(BUCKET_MISMATCH).set(1)
            log.error("nothing is removed from the bucket", error=str(error))  # noqa: TRY400 - nothing broke
            raise
        self._metrics.gauge(BUCKET_MISMATCH).set(0)

    async def _pages(self, after: str = "") -> AsyncIterator[tuple[Listed, ...]]:
        for root in ROOTS:
            if after < root or after.startswith(root):
                async for page in pages(self._store, root, after if after.startswith(root) else None):
                    yield page

    async def _look_at(
        self,
        swept: Swept,
        page: Sequence[Listed],
        age: timedelta,
        *,
        dry_run: bool = False,
        force: bool = False,
        tell: Callable[[Listed], None] = lambda _: None,
    ) -> Swept:
        """What was swept before, and with this page."""
        before = datetime.now(UTC) - age
        old = {one.key: one for one in page if one.modified_at < before}
        async with self._database.transaction() as connection:
            found = await purge.orphans(connection, list(old))
        swept = swept.plus(Swept(objects=len(page), old=len(old), strange=sum(found.values())))
        # Before the first of the page goes: in another's bucket, before anything goes.
        if not (dry_run or force) and swept.strange > max(_FEW, _LARGEST_SHARE * swept.old):
            raise TooManyOrphansError(swept)
        for key in found:
            if dry_run or await self._removed(key):
                swept = swept.plus(Swept(orphans=1, size=old[key].size))
                tell(old[key])
        return swept

    async def _removed(self, key: str) -> bool:
        act, failed = self._remove(key), "an orphan was not removed"
        return bool(await one_of_many(act, self._database, self._store, failed, key=key))

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
