"""Uploads in parts: the store keeps the parts, the asset's row says whose they are and what they have to add up to.

The object's key is in the row and never taken from the client. A client that vanished for a day lists the parts and
goes on.
"""

import contextlib
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from api.announcing import Announced, announce
from api.assets.completion import Completion
from api.limits.admission import Admission
from api.limits.rates import RateLimiter
from api.uploads.models import (
    MOST_PARTS,
    DonePart,
    Location,
    MultipartCreated,
    MultipartRequest,
    SignedPart,
    SignedParts,
    UploadedPart,
)
from connectors.objectstore.port import LISTED_AT_ONCE, SMALLEST_PART, ObjectStore, Part
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import Upload, begin_again, create_assets, find_upload
from connectors.postgres.database import Database
from connectors.postgres.protocol.cancel import delete_asset
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import AssetState

OPEN_FOR = timedelta(days=7)
"""How long an upload in parts may take; afterwards it counts as abandoned."""

_BYTES_REFUSED = 422
_TOLD_ELSEWHERE = frozenset({"name", "filename", "type", "size"})
_KEY, _LONGEST_VALUE, _MOST_METADATA = re.compile(r"[A-Za-z0-9._-]{1,64}"), 512, 20


class MultipartService:
    """Creates, signs, lists, completes and aborts."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        admission: Admission,
        completion: Completion,
        limiter: RateLimiter,
        *,
        max_upload_bytes: int,
    ) -> None:
        self._database = database
        self._store = store
        self._admission = admission
        self._completion = completion
        self._limiter = limiter
        self._max_upload_bytes = max_upload_bytes

    async def create(self, who: Principal, wanted: MultipartRequest, *, traceparent: str | None) -> MultipartCreated:
        """Begin an upload. Raises what presign raises."""
        asset = announce(
            who,
            Announced(
                file_name=wanted.filename,
                content_type=wanted.type,
                size=_size(wanted),
                metadata=_metadata(wanted),
                tags=wanted.tags,
                profiles=wanted.profiles,
            ),
            max_bytes=self._max_upload_bytes,
            expires_at=datetime.now(UTC) + OPEN_FOR,
            traceparent=traceparent,
        )
        async with self._admission.of(who, asset):
            store = self._store.of(who.tenant_id)
            upload_id = await store.create_multipart(asset.object_key, asset.content_type)
            asset = msgspec.structs.replace(asset, upload_id=upload_id)
            try:
                async with self._database.tenant(who.tenant_id) as connection:
                    await create_assets(connection, who.tenant_id, [asset])
            except BaseException:
                with contextlib.suppress(MedialaneError):
                    await store.abort_multipart(asset.object_key, upload_id)
                raise
        return MultipartCreated(key=asset.object_key, uploadId=asset.id)

    async def sign(self, who: Principal, asset_id: UUID, key: str | None, number: int) -> SignedPart:
        """An address for a part.

        Raises `MedialaneError`: not_found, conflict for an upload that is over, invalid_request for a number that no
        part of such a file has.
        """
        upload, upload_id = await self._open(who, asset_id, key)
        _check_number(number, upload.size, "number")
        signed = self._store.presign_part(upload.object_key, upload_id, number)
        return SignedPart(url=signed.url, headers=signed.headers, expires=signed.left_s())

    async def sign_many(self, who: Principal, asset_id: UUID, key: str | None, numbers: Sequence[int]) -> SignedParts:
        """Addresses for parts. Raises as `sign`."""
        upload, upload_id = await self._open(who, asset_id, key)
        _check_number(max(numbers), upload.size, "partNumbers")
        signed = {str(n): self._store.presign_part(upload.object_key, upload_id, n) for n in dict.fromkeys(numbers)}
        addresses = {number: one.url for number, one in signed.items()}
        return SignedParts(presignedUrls=addresses, expires=min(one.left_s() for one in signed.values()))

    async def list(self, who: Principal, asset_id: UUID, key: str | None) -> tuple[UploadedPart, ...]:
        """The parts that are there.

        Raises `MedialaneError`: not_found, conflict for an upload that is over, rate_limited.
        """
        upload, upload_id = await self._open(who, asset_id, key)
        parts = await self._stored(who, upload, upload_id)
        if parts is None:
            raise MedialaneError(ErrorCode.CONFLICT, "The object store knows this upload no more.")
        return tuple(UploadedPart(part_number=part.number, size=part.size, e_tag=f'"{part.etag}"') for part in parts)

    async def complete(
        self, who: Principal, asset_id: UUID, key: str | None, parts: Sequence[DonePart], *, traceparent: str | None
    ) -> Location:
        """Make the object of the parts and hand the asset to the pipeline; repeated, it changes nothing.

        Raises `MedialaneError`: not_found, rate_limited, part_invalid if the parts are not those that make up the
        announced file, and what complete raises. Bytes that it refuses may be sent anew, from the first part on.
        """
        upload, upload_id = await self._find(who, asset_id, key)
        if upload.state == AssetState.PENDING:
            stored = await self._stored(who, upload, upload_id)
            # None or nothing: an earlier call made the object, and died before it told anybody or refused its bytes.
            if stored:
                chosen = _chosen(stored, parts, upload.size)
                await self._store.of(who.tenant_id).complete_multipart(upload.object_key, upload_id, chosen)
            try:
                await self._completion.complete(who.tenant_id, asset_id, traceparent=traceparent)
            except MedialaneError as error:
                if error.status == _BYTES_REFUSED and stored != ():
                    await self._begin_again(who.tenant_id, asset_id, upload, upload_id)
                raise
        return Location(location=self._store.public_url(upload.object_key), assetId=asset_id)

    async def abort(self, who: Principal, asset_id: UUID, key: str | None) -> None:
        """Give the upload up and delete its asset. Raises as `list`."""
        upload, upload_id = await self._open(who, asset_id, key)
        async with self._database.tenant(who.tenant_id) as connection:
            await delete_asset(connection, who.tenant_id, asset_id, actor=who.actor)
        await self._store.of(who.tenant_id).abort_multipart(upload.object_key, upload_id)

    async def _stored(self, who: Principal, upload: Upload, upload_id: str) -> tuple[Part, ...] | None:
        """The parts that the store has; None if it knows the upload no more."""
        listings = -(-_most_parts(upload.size) // LISTED_AT_ONCE)
        # No more than a full bucket holds: an upload that was let in can be made.
        await self._limiter.pay(who, min(listings, who.plan.request_burst or listings))
        return await self._store.of(who.tenant_id).list_parts(upload.object_key, upload_id)

    async def _begin_again(self, tenant_id: UUID, asset_id: UUID, upload: Upload, upload_id: str) -> None:
        """Let parts be sent anew: with the object that it became, the store has forgotten the upload."""
        store = self._store.of(tenant_id)
        newer = await store.create_multipart(upload.object_key, upload.content_type)
        async with self._database.tenant(tenant_id) as connection:
            mine = await begin_again(connection, tenant_id, asset_id, older=upload_id, newer=newer)
        if not mine:
            await store.abort_multipart(upload.object_key, newer)

    async def _find(self, who: Principal, asset_id: UUID, key: str | None) -> tuple[Upload, str]:
        async with self._database.tenant(who.tenant_id) as connection:
            upload = await find_upload(connection, who.tenant_id, asset_id)
        if upload is None or upload.upload_id is None or key not in {None, upload.object_key}:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return upload, upload.upload_id

    async def _open(self, who: Principal, asset_id: UUID, key: str | None) -> tuple[Upload, str]:
        upload, upload_id = await self._find(who, asset_id, key)
        if upload.state != AssetState.PENDING:
            raise MedialaneError(ErrorCode.CONFLICT, "This upload was completed already.")
        return upload, upload_id


def _most_parts(size: int) -> int:
    return min(-(-size // SMALLEST_PART), MOST_PARTS)


def _check_number(number: int, size: int, field: str) -> None:
    most = _most_parts(size)
    if number > most:
        detail = f"A file of {size} bytes has at most {most} parts: none but the last is below {SMALLEST_PART} bytes."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field=field)


def _size(wanted: MultipartRequest) -> int:
    said = wanted.size if wanted.size is not None else wanted.metadata.get("size")
    if isinstance(said, str) and said.isascii() and said.isdecimal() and len(said) < 20:
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int):
        detail = "Say how large the file is: `size`, or `metadata.size`, in bytes."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="size")
    return said


def _metadata(wanted: MultipartRequest) -> dict[str, str]:
    kept = {name: value for name, value in wanted.metadata.items() if name not in _TOLD_ELSEWHERE}
    texts = {name: _text(value) for name, value in kept.items() if value is not None}
    for name, text in texts.items():
        if _KEY.fullmatch(name) is None or len(text) > _LONGEST_VALUE or "\0" in text:
            detail = f"Names have up to 64 of A-Z, a-z, 0-9, '.', '_', '-', values up to {_LONGEST_VALUE} characters."
            raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="metadata")
    if len(texts) > _MOST_METADATA:
        raise MedialaneError(ErrorCode.INVALID_REQUEST, f"At most {_MOST_METADATA} entries.", field="metadata")
    return texts


def _text(value: str | float | bool) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value if isinstance(value, str) else str(value).lower()


def _chosen(stored: Sequence[Part], said: Sequence[DonePart], size: int) -> list[Part]:
    known = {part.number: part for part in stored}
    chosen = {}
    for part in said:
        found = known.get(part.part_number)
        if found is None or found.etag != part.e_tag.strip('"'):
            detail = f"Part {part.part_number} is not there, or not the one that was named."
            raise MedialaneError(ErrorCode.PART_INVALID, detail, field="parts")
        chosen[part.part_number] = found
    have = sum(part.size for part in chosen.values())
    if have != size:
        detail = f"The parts have {have} bytes together; {size} were announced."
        raise MedialaneError(ErrorCode.PART_INVALID, detail, field="parts")
    return [chosen[number] for number in sorted(chosen)]
