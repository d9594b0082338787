"""The client itself: one object per API key, one method per call of the API, and `upload`, which is three of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import aiohttp
from yarl import URL

from cli.client.errors import (
    ApiError,
    AssetFailedError,
    RateLimitedError,
    ServerError,
    StillProcessingError,
    StoreRefusedError,
    UnreachableError,
)
from cli.client.models import (
    Asset,
    AssetPage,
    AssetVariant,
    Completed,
    Endpoint,
    Key,
    Multipart,
    Presigned,
    StoredPart,
)
from cli.client.transport import PATIENCE_S, Answer, call

_API = "/api/v1"
_PARTS = "/uploads/s3/multipart"

_TERMINAL = ("ready", "failed", "cancelled", "deleted")
_ENDED = ("done", "failed", "cancelled")
_LONGEST_LOOK_S = 20.0


class MedialaneClient:
    """Talks to one Medialane with one API key (`mp_<prefix>_<secret>`).

    Use as `async with`, or call `close`. A session passed in is used and not closed. Every method raises a kind of
    `ClientError`.
    """

    def __init__(
        self, base_url: str, api_key: str, *, session: aiohttp.ClientSession | None = None, timeout_s: float = 30.0
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._timeout_s = timeout_s
        self._session = session
        self._own = session is None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session if it is our own."""
        if self._own and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._base

    async def presign(
        self, file_name: str, content_type: str, size: int, *, profiles: Sequence[str] | None = None
    ) -> Presigned:
        """Announce an upload of `size` bytes; the answer says where to PUT them and which asset it will be.

        `profiles` are those of the tenant's that are to be made of it; None: all.
        """
        body = {"fileName": file_name, "contentType": content_type, "size": size} | _wanted(profiles)
        return (await self._call("POST", "/storage/presign", body)).data(Presigned)

    async def put(self, presigned: Presigned, content: bytes | Path, content_type: str) -> None:
        """Send the bytes to the object store, with no header of our own but the content type."""
        source = content if isinstance(content, bytes) else await asyncio.to_thread(content.open, "rb")
        headers = {"Content-Type": content_type}
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

    async def begin_parts(
        self, file_name: str, content_type: str, size: int, *, profiles: Sequence[str] | None = None
    ) -> Multipart:
        """Begin an upload in parts; it stays open for days. `profiles` as in `presign`."""
        body = {"filename": file_name, "type": content_type, "size": size} | _wanted(profiles)
        return (await self._call("POST", _PARTS, body)).whole(Multipart)

    async def stored_parts(self, upload_id: UUID) -> list[StoredPart]:
        """The parts that are there; raises `NotFoundError` or `ConflictError` if the upload is no more."""
        return (await self._call("GET", f"{_PARTS}/{upload_id}")).whole(list[StoredPart])

    async def part_addresses(self, upload_id: UUID, numbers: Sequence[int]) -> dict[int, str]:
        """Where to PUT parts."""
        query = {"partNumbers": ",".join(map(str, numbers))}
        answer = (await self._call("GET", f"{_PARTS}/{upload_id}/batch", query=query)).body
        return {int(number): str(url) for number, url in answer["presignedUrls"].items()}

    async def put_part(self, address: str, content: bytes) -> str:
        """Send a part; returns the entity tag that completing needs."""
        async with self._store("PUT", address, content) as response:
            return response.headers.get("ETag", "")

    async def complete_parts(self, upload_id: UUID, tags: Mapping[int, str]) -> None:
        """Make the file of its parts and hand it to the processing; calling it again changes nothing."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
        await self._call("POST", f"{_PARTS}/{upload_id}/complete", {"parts": parts})

    async def upload(
        self, file_name: str, content_type: str, content: bytes | Path, *, profiles: Sequence[str] | None = None
    ) -> UUID:
        """Presign, PUT and complete; returns the asset's id, whose processing then goes on by itself."""
        size = len(content) if isinstance(content, bytes) else (await asyncio.to_thread(content.stat)).st_size
        presigned = await self.presign(file_name, content_type, size, profiles=profiles)
        await self.put(presigned, content, content_type)
        await self.complete(presigned.asset_id)
        return presigned.asset_id

    async def asset(self, asset_id: UUID) -> Asset:
        """One asset: state, variants with addresses, timeline."""
        return await self._asset(asset_id, 0, PATIENCE_S)

    async def assets(self, *, limit: int = 50, cursor: str | None = None, state: str | None = None) -> AssetPage:
        """A page of assets, newest first; pass `next_cursor` back for the following page."""
        query = {"limit": str(limit)}
        query |= {"cursor": cursor} if cursor else {}
        query |= {"state": state} if state else {}
        return (await self._call("GET", "/assets", query=query)).data(AssetPage)

    async def change_asset(
        self, asset_id: UUID, *, metadata: Mapping[str, str] | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Replace metadata or tags; what is None stays."""
        body: dict[str, object] = {} if metadata is None else {"metadata": dict(metadata)}
        body |= {} if tags is None else {"tags": list(tags)}
        await self._call("PATCH", f"/assets/{asset_id}", body)

    async def cancel_asset(self, asset_id: UUID) -> None:
        """Stop an asset's processing; raises `ConflictError` if there is nothing to stop."""
        await self._call("POST", f"/assets/{asset_id}/cancel")

    async def delete_asset(self, asset_id: UUID) -> None:
        """Delete an asset; it is gone at once."""
        await self._call("DELETE", f"/assets/{asset_id}")

    async def keys(self) -> list[Key]:
        """The tenant's API keys, without their secrets."""
        return (await self._call("GET", "/keys")).data(list[Key])

    async def mint_key(self, scopes: Sequence[str], *, name: str = "", expires_in_s: int | None = None) -> Key:
        """Make an API key; the answer holds it, once."""
        body: dict[str, object] = {"scopes": list(scopes), "name": name}
        body |= {} if expires_in_s is None else {"expiresIn": expires_in_s}
        return (await self._call("POST", "/keys", body)).data(Key)

    async def rotate_key(self, key_id: UUID, *, overlap_s: int = 86_400) -> Key:
        """Follow a key by a new one; the old one goes on for the overlap."""
        return (await self._call("POST", f"/keys/{key_id}/rotate", {"overlap": overlap_s})).data(Key)

    async def revoke_key(self, key_id: UUID) -> None:
        """Make a key useless, for good."""
        await self._call("DELETE", f"/keys/{key_id}")

    async def wait_terminal(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """Follow an asset until it is on its way no more; raises `StillProcessingError` when patience ends."""
        return await self._until(_is_terminal, asset_id, timeout_s, poll_s)

    async def wait_ready(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """As `wait_terminal`, and raises `AssetFailedError` if it ends in any other state than ready."""
        found = await self.wait_terminal(asset_id, timeout_s=timeout_s, poll_s=poll_s)
        if found.state != "ready":
            raise AssetFailedError(found)
        return found

    async def wait_settled(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """As `wait_ready`, and on until every job of it has ended: those of stages that come after it is ready, too."""
        found = await self._until(_is_settled, asset_id, timeout_s, poll_s)
        if found.state != "ready":
            raise AssetFailedError(found)
        return found

    async def _until(self, ended: Callable[[Asset], bool], asset_id: UUID, timeout_s: float, poll_s: float) -> Asset:
        ends_at = time.monotonic() + timeout_s
        while True:
            left_s = ends_at - time.monotonic()
            try:
                # The API answers at the asset's end: following many costs few of the requests that a plan allows.
                found = await self._asset(asset_id, min(left_s, _LONGEST_LOOK_S, self._timeout_s / 2), left_s)
            except (RateLimitedError, ServerError, UnreachableError) as error:
                # Whoever waits anyway waits for a service that is away for a moment, too, but not beyond the end.
                later_s = (error.retry_after_s if isinstance(error, ApiError) else None) or 0.0
                if time.monotonic() + later_s > ends_at:
                    raise
                await asyncio.sleep(max(poll_s, later_s))
            else:
                if ended(found):
                    return found
                if left_s < 0:
                    raise StillProcessingError(found, timeout_s)
                await asyncio.sleep(poll_s)

    async def _asset(self, asset_id: UUID, wait_s: float, patience_s: float) -> Asset:
        query = {"wait": f"{wait_s:.3f}"} if wait_s > 0 else None
        return (await self._call("GET", f"/assets/{asset_id}", query=query, patience_s=patience_s)).data(Asset)

    async def download(self, variant: AssetVariant) -> bytes:
        """A variant's bytes, by its signed address."""
        return await self.read(variant.url)

    async def read(self, address: str) -> bytes:
        """The bytes at a signed address, or at one that a playlist or WebVTT names beside it."""
        try:
            async with self._open().get(URL(address, encoded=True)) as response:
                if response.status != 200:
                    raise StoreRefusedError(response.status, f"to the download of {URL(address).name}")
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the object store did not answer: {error or type(error).__name__}") from error

    async def register_webhook(self, url: str, events: list[str], *, secret: str | None = None) -> Endpoint:
        """Register an endpoint; the answer holds its secret, which is never shown again."""
        body = {"url": url, "events": events} | ({"secret": secret} if secret is not None else {})
        return (await self._call("POST", "/webhooks", body)).data(Endpoint)

    async def webhooks(self) -> list[Endpoint]:
        """The tenant's endpoints, without their secrets."""
        return (await self._call("GET", "/webhooks")).data(list[Endpoint])

    async def delete_webhook(self, endpoint_id: UUID) -> None:
        """Remove an endpoint; nothing more is sent to it."""
        await self._call("DELETE", f"/webhooks/{endpoint_id}")

    @asynccontextmanager
    async def _store(
        self, method: str, address: str, content: Any, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # The address is signed as it is spelled: it must not be quoted anew.
        url = URL(address, encoded=True)
        try:
            async with self._open().request(method, url, data=content, headers=headers) as response:
                if response.status >= 300:
                    raise StoreRefusedError(response.status, (await response.text())[:300])
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the object store did not answer: {error or type(error).__name__}") from error

    async def _call(
        self, method: str, path: str, body: object = None, *,
        query: dict[str, str] | None = None, patience_s: float = PATIENCE_S,
    ) -> Answer:  # fmt: skip
        address = URL(f"{self._base}{_API}{path}").with_query(query or {})
        return await call(self._open(), method, address, headers=self._headers, body=body, patience_s=patience_s)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self._session


def _is_terminal(asset: Asset) -> bool:
    return asset.state in _TERMINAL


def _is_settled(asset: Asset) -> bool:
    return _is_terminal(asset) and (asset.state != "ready" or all(job.state in _ENDED for job in asset.jobs))


def _wanted(profiles: Sequence[str] | None) -> dict[str, object]:
    return {} if profiles is None else {"profiles": list(profiles)}
