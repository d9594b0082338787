"""Pull: the bytes at a remote address become an asset, within the request (decision 25).

The bytes wait in a temporary file and then stand in the store before any row knows them; one transaction makes the
asset and its job. Whoever dies on the way leaves a file and an object at most, which the sweeps of both remove.
"""

import asyncio
import contextlib
import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yarl import URL

from api.announcing import check_metadata
from api.idempotency import Keep
from api.limits.admission import Admission
from api.limits.concurrency import Places
from api.noting import note
from api.pulls.arriving import Arriving
from api.pulls.models import PulledAsset, PullRequest
from connectors.http.fetch import Fetcher
from connectors.objectstore.port import ObjectStore
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import NewAsset, create_assets
from connectors.postgres.database import Database
from connectors.postgres.protocol.completing import Completed, complete_assets
from processors.temp import TempFolders
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import PullSettings

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_BUSY_S = 5.0


class _Spool:
    """The bytes so far, in a file, and their SHA-256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    async def take(self, chunk: bytes) -> None:
        await asyncio.to_thread(self._write, chunk)

    def flush(self) -> None:
        with _told_if_full():
            self._file.flush()  # the store reads the path

    def close(self) -> None:
        self._file.close()

    def _write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        with _told_if_full():
            self._file.write(chunk)


class PullService:
    """Fetches files for tenants."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        admission: Admission,
        settings: PullSettings,
        *,
        max_upload_bytes: int,
    ) -> None:
        self._database = database
        self._store = store
        self._admission = admission
        self._settings = settings
        self._max_bytes = min(settings.max_bytes, max_upload_bytes)
        self._places = Places(
            settings.at_once, max(1, settings.at_once // 2), what="files are being fetched",
            excess=ErrorCode.TOO_MANY_UPLOADS, retry_after_s=_BUSY_S,
        )  # fmt: skip
        self._temp: TempFolders | None = None

    async def pull(
        self, who: Principal, wanted: PullRequest, keep: Keep[PulledAsset], *, traceparent: str | None
    ) -> PulledAsset:
        """Fetch and judge a file, store it, and hand it to the pipeline. No more is fetched once it is to be refused.

        Raises `MedialaneError`: pull_url_refused, pull_failed, size_out_of_range, unsupported_type, empty_file,
        unknown_format, unsupported_format, type_mismatch, upload_checksum_mismatch, profiles_refused, quota_exceeded,
        too_many_uploads, service_unavailable if too many pulls are under way, no_temp_space, invalid_request for too
        much metadata.
        """
        check_metadata(wanted.metadata)  # before anything is fetched
        with self._places.place(who.tenant_id):
            await self._admission.may_begin(who)
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    return await self._pull(who, wanted, keep, traceparent)
            except TimeoutError as error:
                detail = f"Fetching and storing the file took longer than {self._settings.timeout_s:g} seconds."
                raise MedialaneError(ErrorCode.PULL_FAILED, detail, field="url") from error

    async def _pull(
        self, who: Principal, wanted: PullRequest, keep: Keep[PulledAsset], traceparent: str | None
    ) -> PulledAsset:
        with self._spool() as spool:
            arriving = Arriving(
                who,
                wanted,
                self._admission,
                spool.take,
                max_bytes=self._max_bytes,
                traceparent=traceparent,
            )
            async with self._fetcher() as fetcher:
                await fetcher.fetch(wanted.url, arriving.take, begin=arriving.begin, max_bytes=self._max_bytes)
            asset, sha256 = arriving.end(spool.sha256), spool.sha256
            spool.flush()
            # Until now it was only asked whether there is room: what is held for long is missed elsewhere, and is not
            # found by a count that comes meanwhile.
            async with self._admission.of(who, asset):
                store = self._store.of(who.tenant_id)
                await store.put_file(asset.object_key, spool.path, asset.content_type, sha256)
                return await self._hand_over(who, asset, wanted.url, sha256, keep)

    async def _hand_over(
        self, who: Principal, asset: NewAsset, url: str, sha256: str, keep: Keep[PulledAsset]
    ) -> PulledAsset:
        head = await self._store.of(who.tenant_id).head(asset.object_key)
        if head is None:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, "The object store lost what it had taken.")
        async with self._database.tenant(who.tenant_id) as connection:
            await create_assets(connection, who.tenant_id, [asset])
            done = Completed(asset.id, head.etag, asset.traceparent, head.version_id)
            await complete_assets(connection, who.tenant_id, [done])
            # The host only: what follows it may be a permission.
            detail = {"host": URL(url).host, "size": asset.size}
            await note(connection, who, "asset.pull", asset.id, detail)
            pulled = PulledAsset(
                asset_id=asset.id,
                file_name=asset.file_name,
                content_type=asset.content_type,
                size=asset.size,
                sha256=sha256,
            )
            await keep(connection, pulled)
        return pulled

    def _fetcher(self) -> Fetcher:
        settings = self._settings
        return Fetcher(timeout_s=settings.timeout_s, connections=2, allow_private=settings.allow_private)

    def close(self) -> None:
        """Remove what is left of the temporary files."""
        if self._temp is not None:
            self._temp.close()

    @contextmanager
    def _spool(self) -> Iterator[_Spool]:
        with _told_if_full():
            if self._temp is None:
                self._temp = TempFolders(Path(self._settings.temp_dir))
            with self._temp.job("pull") as path, contextlib.closing(_Spool(path / "file")) as spool:
                yield spool


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise MedialaneError(ErrorCode.NO_TEMP_SPACE) from error
