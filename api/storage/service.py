"""Presign: a pending asset with its first event, and an address that takes exactly the announced bytes."""

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.announcing import Announced, announce
from api.limits.admission import Admission
from api.storage.models import PresignedUpload, PresignRequest
from connectors.objectstore.port import ObjectStore
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import create_assets, extend_upload, find_upload
from connectors.postgres.database import Database
from connectors.postgres.group_commit import by_tenant
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import AssetState


class StorageService:
    """Announces uploads."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        admission: Admission,
        *,
        max_upload_bytes: int,
    ) -> None:
        self._database = database
        self._announced = by_tenant(database, create_assets)
        self._store = store
        self._admission = admission
        self._max_upload_bytes = max_upload_bytes
        self._ttl = timedelta(seconds=store.upload_ttl_s)

    async def presign(self, who: Principal, wanted: PresignRequest, *, traceparent: str | None) -> PresignedUpload:
        """Make the asset and sign its address.

        Raises `MedialaneError`: unsupported_type, size_out_of_range, invalid_request for too much metadata,
        profiles_refused, quota_exceeded, too_many_uploads.
        """
        asset = announce(
            who,
            Announced(
                file_name=wanted.file_name,
                content_type=wanted.content_type,
                size=wanted.size,
                sha256=wanted.sha256,
                metadata=wanted.metadata,
                tags=wanted.tags,
                profiles=wanted.profiles,
            ),
            max_bytes=self._max_upload_bytes,
            expires_at=datetime.now(UTC) + self._ttl,
            traceparent=traceparent,
        )
        async with self._admission.of(who, asset):
            await self._announced.submit(who.tenant_id, asset)
        # As declared, not as stored: the client's PUT repeats its own spelling, and the signature covers it.
        return self._signed(asset.id, asset.object_key, wanted.content_type, asset.size, wanted.sha256, wanted.method)

    async def sign_again(self, who: Principal, asset_id: UUID, method: str) -> PresignedUpload:
        """A new address for an upload that was announced and has not come.

        Raises `MedialaneError`: not_found, conflict for an asset that was completed or is uploaded in parts,
        too_many_uploads if it had expired and others are open now.
        """
        async with self._database.tenant(who.tenant_id) as connection:
            upload = await find_upload(connection, who.tenant_id, asset_id)
        if upload is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        if upload.state != AssetState.PENDING or upload.upload_id is not None:
            detail = "This upload was completed already, or is made in parts."
            raise MedialaneError(ErrorCode.CONFLICT, detail)
        let_in = self._admission.again(who) if upload.expired else contextlib.nullcontext()
        async with let_in, self._database.tenant(who.tenant_id) as connection:
            await extend_upload(connection, who.tenant_id, asset_id, datetime.now(UTC) + self._ttl)
        sha256 = upload.expected_sha256.hex() if upload.expected_sha256 is not None else None
        return self._signed(asset_id, upload.object_key, upload.content_type, upload.size, sha256, method)

    def _signed(
        self, asset_id: UUID, key: str, content_type: str, size: int, sha256: str | None, method: str
    ) -> PresignedUpload:
        if method == "POST":
            form = self._store.presign_post(key, content_type, size, sha256_hex=sha256)
            url, headers, fields, expires_at = form.url, {}, form.fields, form.expires_at
        else:
            signed = self._store.presign_put(key, content_type, size, sha256_hex=sha256)
            url, headers, fields, expires_at = signed.url, signed.headers, None, signed.expires_at
        return PresignedUpload(
            upload_url=url,
            asset_id=asset_id,
            method=method,
            headers=headers,
            object_path=key,
            public_url=self._store.public_url(key),
            expires_at=int(expires_at.timestamp()),
            fields=fields,
        )
