"""Finished files on their way out: stored while the child still works, and made known soon after.

What is stored last is not announced here but handed back, so that it becomes known in the job's final transaction. Of a
photo that is all of it, and two transactions fewer: none of its files waits long for the others.

While the store or the database is away, finished files wait for it: making them again may cost minutes.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from connectors.objectstore.port import ObjectStore, Stored
from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.database import Database
from connectors.postgres.protocol import endings
from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.tracing import current_traceparent
from processors.contract import Rendition
from schemas.errors import ErrorCode, MedialaneError
from streams.media.patience import until_back

_TOGETHER_S = 0.5  # what is stored within it is announced together
_LEAST_PATIENCE_S = 30.0
_CACHING = "private, max-age=31536000, immutable"  # of readers by addresses that say nothing of caches


class Outputs:
    """Takes renditions as the processor finishes them."""

    def __init__(
        self,
        job: ClaimedJob,
        sha256: bytes,
        database: Database,
        store: ObjectStore,
        *,
        on_outage: Callable[[MedialaneError], None],
    ) -> None:
        """`on_outage` is told when the store does not take a file at first."""
        self._job = job
        self._sha256 = sha256
        self._database = database
        self._store = store
        self._on_outage = on_outage
        self._began = time.monotonic()
        self._storing: list[asyncio.Task[NewVariant]] = []
        self._stored: asyncio.Queue[NewVariant | None] = asyncio.Queue()
        self._closing = asyncio.Event()
        self._announcing: asyncio.Task[list[NewVariant]] | None = None

    def put(self, rendition: Rendition) -> None:
        """Store this file from now on, in the background; what goes wrong shows in `close`."""
        self._storing.append(asyncio.create_task(self._keep(rendition)))
        if self._announcing is None:
            self._announcing = asyncio.create_task(self._announce())

    async def close(self) -> tuple[NewVariant, ...]:
        """Wait until everything is stored; returns the variants that are not yet known.

        Raises what storing or announcing raised: `MedialaneError`, or `FencedError` if the job was taken over.
        """
        self._closing.set()
        await asyncio.gather(*self._storing)
        if self._announcing is None:
            return ()
        self._stored.put_nowait(None)
        return (*await self._announcing, *self._take_stored())

    def abandon(self) -> None:
        """Stop whatever still runs; does nothing after `close`."""
        for task in (*self._storing, *filter(None, [self._announcing])):
            task.cancel()

    async def _keep(self, rendition: Rendition) -> NewVariant:
        key = _object_key(self._job, self._sha256, rendition)
        folder = key.rpartition("/")[0]
        # What is named is stored before what names it, and the variant's own object last.
        for part in rendition.parts:
            path = Path(rendition.path).with_name(part.name)
            await self._put(f"{folder}/{part.name}", path, part.content_type, part.sha256)
        stored = await self._put(key, Path(rendition.path), rendition.content_type, rendition.sha256)
        variant = _variant(rendition, self._sha256, key, stored)
        self._stored.put_nowait(variant)
        return variant

    async def _put(self, key: str, path: Path, content_type: str, sha256: str) -> Stored:
        # As long as making it took: who waits longer than that has lost more than by making it again.
        patience_s = max(time.monotonic() - self._began, _LEAST_PATIENCE_S)
        whole = _Whole(path, sha256)

        async def put() -> Stored:
            try:
                return await self._store.put_file(key, path, content_type, sha256, cache_control=_CACHING)
            except MedialaneError as error:
                if await asyncio.to_thread(whole.broken):
                    detail = f"{path.name} is not what the child said of it."
                    raise MedialaneError(ErrorCode.PROCESSING_FAILED, detail) from error
                raise

        return await until_back(
            put,
            ErrorCode.OBJECT_STORE_UNAVAILABLE,
            patience_s=patience_s,
            on_outage=self._on_outage,
        )

    async def _announce(self) -> list[NewVariant]:
        while True:
            first = await self._stored.get()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _TOGETHER_S)
            batch = [variant for variant in (first, *self._take_stored()) if variant is not None]
            if self._closing.is_set():
                return batch
            await until_back(partial(self._commit, batch), ErrorCode.DATABASE_UNAVAILABLE)

    async def _commit(self, batch: Sequence[NewVariant]) -> None:
        async with self._database.transaction() as connection:
            await endings.commit_variants(connection, self._job, batch, traceparent=current_traceparent())

    def _take_stored(self) -> list[NewVariant]:
        taken = [self._stored.get_nowait() for _ in range(self._stored.qsize())]
        return [variant for variant in taken if variant is not None]


class _Whole:
    """A file as a child told of it.

    What is not that, or becomes something else, is refused by a store like by one that is away: it would be tried for
    ever, at no attempt's cost. A child can keep a file open after it was moved away; it cannot set back its ctime.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self._path = path
        self._sha256 = sha256
        self._changed_ns = path.stat().st_ctime_ns
        self._read = False

    def broken(self) -> bool:
        """Whether it is something else. Blocks: reads the file, the first time."""
        if not self._read:
            self._read = True
            with self._path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self._sha256:
                    return True
        return self._path.stat().st_ctime_ns != self._changed_ns


def _object_key(job: ClaimedJob, sha256: bytes, rendition: Rendition) -> str:
    name = f"{rendition.profile}.v{rendition.profile_version}"
    end = f"-{_digest(rendition)}/{Path(rendition.path).name}" if rendition.parts else Path(rendition.path).suffix
    return f"media/{job.tenant_id}/{sha256.hex()}/{name}{end}"


def _digest(rendition: Rendition) -> str:
    """Names the folder of a variant of several files by what is in them.

    Another attempt may have made other bytes: playlists of one and media of the other would not fit together.
    """
    files = [(part.name, part.sha256) for part in rendition.parts] + [("", rendition.sha256)]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]


def _variant(rendition: Rendition, sha256: bytes, key: str, stored: Stored) -> NewVariant:
    # Size and checksum are those of the object that stands there: another attempt may have been first.
    return NewVariant(
        profile=rendition.profile,
        profile_version=rendition.profile_version,
        content_sha256=sha256,
        object_key=key,
        content_type=rendition.content_type,
        format=rendition.format,
        width=rendition.width,
        height=rendition.height,
        duration_s=rendition.duration_s,
        size=stored.size,
        sha256=bytes.fromhex(stored.sha256),
        parts=rendition.parts,
    )
