"""Originals: found as they were completed, and sent by the object store."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.attachments import attachment
from api.originals.models import OriginalOut
from connectors.objectstore.port import ObjectStore
from connectors.postgres.assets.originals import Original, find_original
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError

_LIFE = timedelta(minutes=5)  # a download has to begin within it


class OriginalReader:
    """Shows a tenant where its uploads are."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def read(self, tenant_id: UUID, asset_id: UUID, *, download: bool) -> OriginalOut:
        """The original with a new address; `download`: one that answers with a file to be saved.

        Raises `MedialaneError`: not_found; upload_missing if it was not completed; source_missing, source_changed if
        the bytes that were are no longer there; object_store_unavailable.
        """
        async with self._database.tenant(tenant_id) as connection:
            found = await find_original(connection, tenant_id, asset_id)
        if found is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        if found.etag is None:
            raise MedialaneError(ErrorCode.UPLOAD_MISSING)
        version_id = await self._version_of(tenant_id, found)
        # In no shared cache: whoever deletes an asset wants its upload gone.
        answer = {"Cache-Control": "private"}
        if download:
            answer["Content-Disposition"] = attachment(found.file_name)
        ends_at = datetime.now(UTC) + _LIFE
        signed = self._store.presign_get(found.object_key, ends_at, version_id=version_id, answer=answer)
        return OriginalOut(
            file_name=found.file_name, content_type=found.content_type, size=found.size, url=signed.url,
            url_expires_at=signed.expires_at,
        )  # fmt: skip

    async def _version_of(self, tenant_id: UUID, found: Original) -> str | None:
        """The version that holds what was completed, None: the present one. A bucket that was moved names others."""
        store, there = self._store.of(tenant_id), False
        for version_id in dict.fromkeys((found.version_id, None)):
            head = await store.head(found.object_key, version_id=version_id)
            if head is not None and head.etag == found.etag:
                return version_id
            there = there or head is not None
        raise MedialaneError(ErrorCode.SOURCE_CHANGED if there else ErrorCode.SOURCE_MISSING)
