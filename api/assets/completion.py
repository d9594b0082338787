"""Complete: the stored object is compared with what was announced, then the asset is handed to the pipeline, once."""

from uuid import UUID

from connectors.objectstore.port import ObjectHead, ObjectStore
from connectors.postgres.assets import Upload, complete_asset, find_upload
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import AssetState


class Completion:
    """Hands uploads to the pipeline."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def complete(self, tenant_id: UUID, asset_id: UUID, *, traceparent: str | None) -> None:
        """Make the asset's job if nobody has. Called again, or twice at once, it changes nothing and answers the same.

        Raises `MedialaneError`: not_found, upload_missing, upload_size_mismatch, upload_type_mismatch.
        """
        async with self._database.tenant(tenant_id) as connection:
            upload = await find_upload(connection, tenant_id, asset_id)
        if upload is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        if upload.state is not AssetState.PENDING:
            return
        # Between two transactions: the store may be slow, and a connection is not held for that long.
        head = await self._store.head(upload.object_key)
        if head is None:
            raise MedialaneError(ErrorCode.UPLOAD_MISSING)
        _compare(upload, head)
        async with self._database.tenant(tenant_id) as connection:
            await complete_asset(connection, tenant_id, asset_id, etag=head.etag, traceparent=traceparent)


def _compare(upload: Upload, head: ObjectHead) -> None:
    if head.size != upload.size:
        detail = f"The uploaded object has {head.size} bytes; {upload.size} were announced."
        raise MedialaneError(ErrorCode.UPLOAD_SIZE_MISMATCH, detail)
    if head.content_type.lower() != upload.content_type:
        detail = f"The uploaded object is declared as {head.content_type}; {upload.content_type} was announced."
        raise MedialaneError(ErrorCode.UPLOAD_TYPE_MISMATCH, detail)
