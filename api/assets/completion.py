"""Complete: the stored object is compared with what was announced, then the asset is handed to the pipeline, once."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from api.announcing import judge
from api.assets.models import CompletedAsset
from connectors.objectstore.port import ObjectHead, ObjectStore
from connectors.postgres.assets.lifecycle import Upload, find_uploads
from connectors.postgres.database import Database
from connectors.postgres.group_commit import by_tenant
from connectors.postgres.protocol.completing import Completed, complete_assets, primary_stage
from processors.sniff import HEAD_BYTES
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import AssetState

_AT_ONCE = 8
"""Of a batch: a part of the pool's connections, so that one request does not take them all."""


class Completion:
    """Hands uploads to the pipeline."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._uploads = by_tenant(database, find_uploads)
        self._completed = by_tenant(database, complete_assets)
        self._store = store

    async def complete(self, tenant_id: UUID, asset_id: UUID, *, traceparent: str | None) -> None:
        """Make the asset's job if nobody has. Called again, or twice at once, it changes nothing and answers the same.

        Raises `MedialaneError`: not_found, upload_missing, upload_size_mismatch, upload_type_mismatch,
        upload_checksum_mismatch; unknown_format, unsupported_format, type_mismatch for bytes that no job could use;
        unsupported_type for a kind that only a newer release knows.
        """
        upload = await self._uploads.submit(tenant_id, asset_id)
        if upload is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        if upload.state != AssetState.PENDING:
            return
        kind = primary_stage(upload.kind).kind
        # Between two transactions: the store may be slow, and a connection is not held for that long.
        found = await self._store.of(tenant_id).peek(upload.object_key, HEAD_BYTES)
        if found is None:
            raise MedialaneError(ErrorCode.UPLOAD_MISSING)
        head, beginning = found
        _compare(upload, head)
        judge(kind, upload.content_type, beginning)
        if upload.expected_sha256 is not None:
            await self._compare_checksum(tenant_id, upload.object_key, head.etag, upload.expected_sha256.hex())
        if await self._completed.submit(tenant_id, Completed(asset_id, head.etag, traceparent, head.version_id)):
            return
        # Since it was found, somebody else has completed it, or it was deleted or swept away.
        if await self._uploads.submit(tenant_id, asset_id) is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)

    async def complete_many(
        self, tenant_id: UUID, asset_ids: Sequence[UUID], *, traceparent: str | None
    ) -> tuple[CompletedAsset, ...]:
        """The same for many, each by itself: what becomes of one is no matter to the others."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(asset_id: UUID) -> CompletedAsset:
            async with limit:
                try:
                    await self.complete(tenant_id, asset_id, traceparent=traceparent)
                except MedialaneError as error:
                    if error.status >= 500:
                        raise
                    return CompletedAsset(asset_id=asset_id, status="error", code=error.code, message=error.detail)
                return CompletedAsset(asset_id=asset_id, status="success")

        return tuple(await asyncio.gather(*(one(asset_id) for asset_id in dict.fromkeys(asset_ids))))

    async def _compare_checksum(self, tenant_id: UUID, key: str, etag: str, expected: str) -> None:
        # The signature made the store check it; this finds a store that does not, or an object of another way in.
        head = await self._store.of(tenant_id).head(key)
        if head is None or head.etag != etag or head.checksum not in {None, expected}:
            raise MedialaneError(ErrorCode.UPLOAD_CHECKSUM_MISMATCH)


def _compare(upload: Upload, head: ObjectHead) -> None:
    if head.size != upload.size:
        detail = f"The uploaded object has {head.size} bytes; {upload.size} were announced."
        raise MedialaneError(ErrorCode.UPLOAD_SIZE_MISMATCH, detail)
    if head.content_type.lower() != upload.content_type:
        detail = f"The uploaded object is declared as {head.content_type}; {upload.content_type} was announced."
        raise MedialaneError(ErrorCode.UPLOAD_TYPE_MISMATCH, detail)
