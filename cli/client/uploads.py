"""The client's uploads: announced, sent and completed, in parts, or fetched by the service from an address."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from cli.client.errors import ConflictError, NotFoundError, RefusedError
from cli.client.models import Completed, Completion, Multipart, Presigned, Pulled, SignedParts, StoredPart
from cli.client.wire import Wire, given

_PARTS = "/uploads/s3/multipart"

_LONGEST_PULL_S = 120.0
"""Longer than the API works on any request that has an `Idempotency-Key`, as each of ours does."""

Metadata = Mapping[str, str]


class Uploads(Wire):
    """What brings bytes in. `profiles` are those of the tenant's that are to be made of them; None: all."""

    async def presign(
        self, file_name: str, content_type: str, size: int, *, sha256: str | None = None,
        metadata: Metadata | None = None, tags: Sequence[str] = (), profiles: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Presigned:  # fmt: skip
        """Announce an upload of `size` bytes; the answer says where to PUT them and which asset it will be.

        With `sha256` (hex digits) the store takes no other bytes: `put` sends the headers that say so to it.
        """
        body = given(fileName=file_name, contentType=content_type, size=size, sha256=sha256)
        body |= _about(metadata, tags, profiles)
        return (await self._call("POST", "/storage/presign", body, idempotency_key=idempotency_key)).data(Presigned)

    async def presign_again(self, asset_id: UUID) -> Presigned:
        """A new address for an upload whose first one has ended; raises `ConflictError` once it was completed."""
        return (await self._call("POST", f"/assets/{asset_id}/upload", {})).data(Presigned)

    async def put(self, presigned: Presigned, content: bytes | Path, content_type: str) -> None:
        """Send the bytes to the object store, with no header but the content type and those that were signed."""
        source = content if isinstance(content, bytes) else await asyncio.to_thread(content.open, "rb")
        headers = {**presigned.headers, "Content-Type": content_type}
        try:
            async with self._store(presigned.method, presigned.upload_url, source, headers):
                pass
        finally:
            if not isinstance(source, bytes):
                source.close()

    async def complete(self, asset_id: UUID) -> Completed:
        """Say that the bytes are there; calling it again changes nothing."""
        answer = await self._call("GET", f"/assets/{asset_id}/complete")
        return Completed(message=str(answer.envelope.get("message", "")), traceparent=answer.traceparent)

    async def complete_many(self, asset_ids: Sequence[UUID]) -> list[Completion]:
        """As `complete`, of up to a hundred at once; what became of each, in the order in which they were named."""
        body = {"assetIds": [str(asset_id) for asset_id in asset_ids]}
        return (await self._call("POST", "/assets/complete", body)).data(list[Completion])

    async def pull(
        self, url: str, *, file_name: str | None = None, content_type: str | None = None, sha256: str | None = None,
        metadata: Metadata | None = None, tags: Sequence[str] = (), profiles: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Pulled:  # fmt: skip
        """Let the service fetch the file at an address that everybody may read; answers when its processing has begun.

        That may take a minute or more: two at least are waited, whatever the client's `timeout_s` is.
        Raises `RefusedError` if it cannot be fetched, or is not what was said of it.
        """
        body = given(url=url, fileName=file_name, contentType=content_type, sha256=sha256)
        body |= _about(metadata, tags, profiles)
        patient_s = max(self._timeout_s, _LONGEST_PULL_S)
        answer = await self._call("POST", "/assets", body, idempotency_key=idempotency_key, timeout_s=patient_s)
        return answer.data(Pulled)

    async def begin_parts(
        self, file_name: str, content_type: str, size: int, *,
        metadata: Metadata | None = None, tags: Sequence[str] = (), profiles: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Multipart:  # fmt: skip
        """Begin an upload in parts; it stays open for days."""
        body = {"filename": file_name, "type": content_type, "size": size} | _about(metadata, tags, profiles)
        return (await self._call("POST", _PARTS, body, idempotency_key=idempotency_key)).whole(Multipart)

    async def stored_parts(self, upload_id: UUID) -> list[StoredPart]:
        """The parts that are there; raises `NotFoundError` or `ConflictError` if the upload is no more."""
        return (await self._call("GET", f"{_PARTS}/{upload_id}")).whole(list[StoredPart])

    async def part_addresses(self, upload_id: UUID, numbers: Sequence[int]) -> dict[int, str]:
        """Where to PUT parts."""
        query = {"partNumbers": ",".join(map(str, numbers))}
        return (await self._call("GET", f"{_PARTS}/{upload_id}/batch", query=query)).whole(SignedParts).presigned_urls

    async def put_part(self, address: str, content: bytes) -> str:
        """Send a part; returns the entity tag that completing needs."""
        async with self._store("PUT", address, content) as response:
            return response.headers.get("ETag", "")

    async def complete_parts(self, upload_id: UUID, tags: Mapping[int, str]) -> None:
        """Make the file of its parts and hand it to the processing; calling it again changes nothing."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
        await self._call("POST", f"{_PARTS}/{upload_id}/complete", {"parts": parts})

    async def abort_parts(self, upload_id: UUID) -> None:
        """Give up an upload in parts, and let go of those that are there."""
        await self._call("DELETE", f"{_PARTS}/{upload_id}")

    async def upload(
        self, file_name: str, content_type: str, content: bytes | Path, *,
        metadata: Metadata | None = None, tags: Sequence[str] = (), profiles: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> UUID:  # fmt: skip
        """Presign, PUT and complete; returns the asset's id, whose processing then goes on by itself.

        All of it may be repeated under an `idempotency_key`, while the first address holds: what is there is not sent
        again.
        """
        size = len(content) if isinstance(content, bytes) else (await asyncio.to_thread(content.stat)).st_size
        presigned = await self.presign(
            file_name, content_type, size, metadata=metadata, tags=tags, profiles=profiles,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        if idempotency_key is None or not await is_made(self, presigned.asset_id):
            await self.put(presigned, content, content_type)
            await self.complete(presigned.asset_id)
        return presigned.asset_id


async def is_made(uploads: Uploads, asset_id: UUID) -> bool:
    """Whether an upload that was begun before is complete: its bytes were sent, and the answer may have been lost."""
    try:
        await uploads.complete(asset_id)
    except (NotFoundError, ConflictError, RefusedError):
        return False
    return True


def _about(metadata: Metadata | None, tags: Sequence[str], profiles: Sequence[str] | None) -> dict[str, object]:
    return given(
        metadata=dict(metadata) if metadata else None,
        tags=list(tags) or None,
        profiles=None if profiles is None else list(profiles),
    )
