"""The client itself: one object per API key, one method per call of the API, and `upload`, which is three of them."""

import asyncio
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import aiohttp
from yarl import URL

from cli.client.errors import AssetFailedError, StillProcessingError, StoreRefusedError, UnreachableError
from cli.client.models import Asset, AssetPage, AssetVariant, Completed, Endpoint, Presigned
from cli.client.transport import Answer, call

_API = "/api/v1"


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

    async def presign(self, file_name: str, content_type: str, size: int) -> Presigned:
        """Announce an upload of `size` bytes; the answer says where to PUT them and which asset it will be."""
        body = {"fileName": file_name, "contentType": content_type, "size": size}
        return (await self._call("POST", "/storage/presign", body)).data(Presigned)

    async def put(self, presigned: Presigned, content: bytes | Path, content_type: str) -> None:
        """Send the bytes to the object store, with no header of our own but the content type."""
        source = content if isinstance(content, bytes) else await asyncio.to_thread(content.open, "rb")
        headers = {"Content-Type": content_type}
        # The address is signed as it is spelled: it must not be quoted anew.
        address = URL(presigned.upload_url, encoded=True)
        try:
            async with self._open().request(presigned.method, address, data=source, headers=headers) as response:
                if response.status >= 300:
                    raise StoreRefusedError(response.status, (await response.text())[:300])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the object store did not answer: {error or type(error).__name__}") from error
        finally:
            if not isinstance(source, bytes):
                source.close()

    async def complete(self, asset_id: UUID) -> Completed:
        """Say that the bytes are there; calling it again changes nothing."""
        answer = await self._call("GET", f"/assets/{asset_id}/complete")
        return Completed(message=str(answer.envelope.get("message", "")), traceparent=answer.traceparent)

    async def upload(self, file_name: str, content_type: str, content: bytes | Path) -> UUID:
        """Presign, PUT and complete; returns the asset's id, whose processing then goes on by itself."""
        size = len(content) if isinstance(content, bytes) else (await asyncio.to_thread(content.stat)).st_size
        presigned = await self.presign(file_name, content_type, size)
        await self.put(presigned, content, content_type)
        await self.complete(presigned.asset_id)
        return presigned.asset_id

    async def asset(self, asset_id: UUID) -> Asset:
        """One asset: state, variants with addresses, timeline."""
        return (await self._call("GET", f"/assets/{asset_id}")).data(Asset)

    async def assets(self, *, limit: int = 50, cursor: str | None = None, state: str | None = None) -> AssetPage:
        """A page of assets, newest first; pass `next_cursor` back for the following page."""
        query = {"limit": str(limit)}
        query |= {"cursor": cursor} if cursor else {}
        query |= {"state": state} if state else {}
        return (await self._call("GET", "/assets", query=query)).data(AssetPage)

    async def wait_terminal(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """Follow an asset until it is ready or failed; raises `StillProcessingError` when patience ends."""
        began = time.monotonic()
        while True:
            found = await self.asset(asset_id)
            if found.state in ("ready", "failed", "cancelled", "deleted"):
                return found
            if time.monotonic() - began > timeout_s:
                raise StillProcessingError(found, timeout_s)
            await asyncio.sleep(poll_s)

    async def wait_ready(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """As `wait_terminal`, and raises `AssetFailedError` if it ends in any other state than ready."""
        found = await self.wait_terminal(asset_id, timeout_s=timeout_s, poll_s=poll_s)
        if found.state != "ready":
            raise AssetFailedError(found)
        return found

    async def download(self, variant: AssetVariant) -> bytes:
        """A variant's bytes, by its signed address."""
        try:
            async with self._open().get(URL(variant.url, encoded=True)) as response:
                if response.status != 200:
                    raise StoreRefusedError(response.status, f"to the download of {variant.profile}")
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

    async def _call(
        self, method: str, path: str, body: object = None, *, query: dict[str, str] | None = None
    ) -> Answer:
        address = URL(f"{self._base}{_API}{path}").with_query(query or {})
        return await call(self._open(), method, address, headers=self._headers, body=body)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self._session
