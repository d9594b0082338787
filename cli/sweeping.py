"""Sweeping: abandoned uploads with what was sent of them, and objects that no row knows."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from connectors.objectstore.port import Listed, ObjectStore
from connectors.postgres import abandoned
from connectors.postgres.allowances import Space, give_back
from connectors.postgres.database import Database

_PAGE = 200
_FIRST = UUID(int=0)


class Swept(msgspec.Struct, kw_only=True):
    """What was found, and removed unless it was a dry run."""

    uploads: int = 0
    upload_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0


class Sweeper:
    """Finds what is older than an age; removes it if it may."""

    def __init__(
        self, database: Database, store: ObjectStore, *, age_s: float, apply: bool, tell: Callable[[str], None]
    ) -> None:
        self._database = database
        self._store = store
        self._age_s = age_s
        self._apply = apply
        self._tell = tell
        self.swept = Swept()

    async def uploads(self) -> None:
        """Announced uploads that nobody completed."""
        after = _FIRST
        while True:
            async with self._database.transaction() as connection:
                found = await abandoned.find_abandoned(connection, age_s=self._age_s, after=after, limit=_PAGE)
            for upload in found:
                await self._upload(upload)
            if len(found) < _PAGE:
                return
            after = found[-1].id

    async def orphans(self) -> None:
        """Objects of uploads and variants that no row knows. The age keeps what is just being written."""
        async for page in self._pages("uploads/"):
            known = await self._known_uploads(page)
            for item in page:
                if _upload_of(item.key) not in known:
                    await self._orphan(item)
        async for page in self._pages("media/"):
            contents = await self._known_contents(page)
            for item in page:
                if _content_of(item.key) not in contents:
                    await self._orphan(item)

    async def _upload(self, upload: abandoned.Abandoned) -> None:
        if self._apply:
            # Gone for the tenant first: a complete that comes now finds nothing, and no job meets a missing object.
            async with self._database.transaction() as connection:
                if not await abandoned.mark_abandoned(connection, upload.id):
                    return
            if upload.upload_id is not None:
                await self._store.abort_multipart(upload.object_key, upload.upload_id)
            await self._store.delete(upload.object_key)
            async with self._database.transaction() as connection:
                await abandoned.forget_abandoned(connection, upload.id)
                await give_back(connection, upload.tenant_id, Space(1, upload.size))
        self.swept.uploads += 1
        self.swept.upload_bytes += upload.size
        self._tell(f"abandoned upload {upload.id}, {upload.size} bytes announced")

    async def _orphan(self, item: Listed) -> None:
        if self._apply:
            await self._store.delete(item.key)
        self.swept.objects += 1
        self.swept.object_bytes += item.size
        self._tell(f"orphaned object {item.key}, {item.size} bytes")

    async def _pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """The objects that are old enough, a thousand at a time."""
        newest = datetime.now(UTC) - timedelta(seconds=self._age_s)
        page = await self._store.list_page(prefix)
        while page:
            yield [item for item in page if item.modified_at < newest]
            page = await self._store.list_page(prefix, after=page[-1].key)

    async def _known_uploads(self, page: Sequence[Listed]) -> set[UUID | None]:
        ids = [asset_id for item in page if (asset_id := _upload_of(item.key)) is not None]
        async with self._database.transaction() as connection:
            return {*await abandoned.known_uploads(connection, ids)}

    async def _known_contents(self, page: Sequence[Listed]) -> set[tuple[UUID, bytes] | None]:
        contents = list({found for item in page if (found := _content_of(item.key)) is not None})
        async with self._database.transaction() as connection:
            return {*await abandoned.known_contents(connection, contents)}


def _upload_of(key: str) -> UUID | None:
    """The asset in `uploads/{tenant}/{asset}/{name}`."""
    with suppress(ValueError, IndexError):
        return UUID(key.split("/")[2])
    return None


def _content_of(key: str) -> tuple[UUID, bytes] | None:
    """Tenant and content in `media/{tenant}/{sha256}/{name}`."""
    with suppress(ValueError, IndexError):
        _, tenant, content, _ = key.split("/", 3)
        return UUID(tenant), bytes.fromhex(content)
    return None
