"""Presign: a pending asset with its first event, and an address that takes exactly the announced bytes."""

import re
from uuid import UUID

from api.storage.models import PresignedUpload, PresignRequest
from connectors.objectstore.port import ObjectStore
from connectors.postgres.assets import NewAsset, create_asset
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.profiles import ACCEPTED_TYPES

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100


class StorageService:
    """Announces uploads."""

    def __init__(self, database: Database, store: ObjectStore, *, max_upload_bytes: int) -> None:
        self._database = database
        self._store = store
        self._max_upload_bytes = max_upload_bytes

    async def presign(self, tenant_id: UUID, wanted: PresignRequest, *, traceparent: str | None) -> PresignedUpload:
        """Make the asset and sign its address.

        Raises `MedialaneError`: unsupported_type, size_out_of_range, invalid_request for a name that is none.
        """
        asset = self._asset(tenant_id, wanted)
        async with self._database.tenant(tenant_id) as connection:
            await create_asset(connection, tenant_id, asset, traceparent=traceparent)
        # As declared, not as stored: the client's PUT repeats its own spelling, and the signature covers it.
        signed = self._store.presign_put(asset.object_key, wanted.content_type, asset.size)
        return PresignedUpload(
            upload_url=signed.url,
            asset_id=asset.id,
            method="PUT",
            headers=signed.headers,
            object_path=asset.object_key,
            public_url=self._store.public_url(asset.object_key),
            expires_at=int(signed.expires_at.timestamp()),
        )

    def _asset(self, tenant_id: UUID, wanted: PresignRequest) -> NewAsset:
        kind = ACCEPTED_TYPES.get(wanted.content_type.lower())
        if kind is None:
            accepted = ", ".join(ACCEPTED_TYPES)
            detail = f"This content type is not accepted; these are: {accepted}."
            raise MedialaneError(ErrorCode.UNSUPPORTED_TYPE, detail, field="contentType")
        if not 1 <= wanted.size <= self._max_upload_bytes:
            detail = f"The size must be between 1 and {self._max_upload_bytes} bytes."
            raise MedialaneError(ErrorCode.SIZE_OUT_OF_RANGE, detail, field="size")
        if not wanted.file_name.isprintable():
            detail = "The file name has control characters."
            raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="fileName")
        asset_id = uuid7()
        return NewAsset(
            id=asset_id,
            kind=kind,
            file_name=wanted.file_name,
            content_type=wanted.content_type.lower(),
            size=wanted.size,
            object_key=f"uploads/{tenant_id}/{asset_id}/{safe_name(wanted.file_name)}",
        )


def safe_name(file_name: str) -> str:
    """A file name as the last part of an object key: ASCII letters, digits, '.', '_' and '-', its extension kept."""
    stem, dot, extension = _UNSAFE.sub("_", file_name).rpartition(".")
    ending = f"{dot}{extension[:16]}"
    return (stem[: _LONGEST_NAME - len(ending)] + ending).lstrip(".") or "file"
