"""The client's assets: read, listed, followed to their end, changed and deleted."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import aiohttp

from cli.client.errors import (
    ApiError,
    AssetFailedError,
    RateLimitedError,
    ServerError,
    StillProcessingError,
    UnreachableError,
)
from cli.client.models import Asset, AssetOriginal, AssetPage, AssetVariant, Event
from cli.client.streaming import read_events
from cli.client.transport import PATIENCE_S, reaching, refusal
from cli.client.wire import Wire, given

_TERMINAL = ("ready", "failed", "cancelled", "deleted")
_ENDED = ("done", "failed", "cancelled")
_LONGEST_LOOK_S = 20.0
_SILENCE_S = 60.0  # of a stream that lives something comes at least every twenty seconds


class Assets(Wire):
    """What became of uploads."""

    async def asset(self, asset_id: UUID) -> Asset:
        """One asset: state, variants with addresses, timeline."""
        return await self._asset(asset_id, {}, PATIENCE_S)

    async def assets(
        self, *, limit: int = 50, cursor: str | None = None, state: str | None = None, kind: str | None = None,
        created_from: datetime | None = None, created_to: datetime | None = None, tag: str | None = None,
        tags: Sequence[str] = (), metadata: Mapping[str, str] | None = None, variants: bool = False,
    ) -> AssetPage:  # fmt: skip
        """A page of assets, newest first; pass `next_cursor` back, with the same filters, for the following page.

        `kind` is image, video or audio. Of `tags` (`tag` is one more) and `metadata` all have to be there. With
        `variants` each item has its variants and pictures, as `asset` shows them.
        """
        filters = {
            "cursor": cursor, "state": state, "type": kind, "tag": tag,
            "include": "variants" if variants else None,
            "createdFrom": created_from and created_from.isoformat(),
            "createdTo": created_to and created_to.isoformat(),
        }  # fmt: skip
        query = [("limit", str(limit)), *((name, value) for name, value in filters.items() if value)]
        query += [("tag", each) for each in tags]
        query += [("metadata", f"{name}:{value}") for name, value in (metadata or {}).items()]
        return (await self._call("GET", "/assets", query=query)).data(AssetPage)

    async def change_asset(
        self, asset_id: UUID, *, metadata: Mapping[str, str] | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Replace metadata or tags; what is None stays."""
        body = given(metadata=None if metadata is None else dict(metadata), tags=None if tags is None else list(tags))
        await self._call("PATCH", f"/assets/{asset_id}", body)

    async def cancel_asset(self, asset_id: UUID, *, idempotency_key: str | None = None) -> None:
        """Stop an asset's processing; raises `ConflictError` if there is nothing to stop."""
        await self._call("POST", f"/assets/{asset_id}/cancel", idempotency_key=idempotency_key)

    async def process_asset(self, asset_id: UUID, *, idempotency_key: str | None = None) -> None:
        """Have a ready, failed or cancelled asset processed again, with the profiles that are chosen by now.

        Raises `ConflictError` while it is under way. Follow it as an upload: `wait_ready`, `wait_settled`.
        """
        await self._call("POST", f"/assets/{asset_id}/process", idempotency_key=idempotency_key)

    async def delete_asset(self, asset_id: UUID) -> None:
        """Delete an asset; it is gone at once."""
        await self._call("DELETE", f"/assets/{asset_id}")

    async def events(self, asset_id: UUID, *, after: int = 0) -> AsyncIterator[Event]:
        """Its events after a `seq`, those that were and those to come; which is the last, their types say.

        The service ends a stream after a quarter of an hour. One that breaks off raises `UnreachableError`. Either way
        go on with the last `seq` that was seen.
        """
        headers = {**self._headers, "Accept": "text/event-stream", "Last-Event-ID": str(after)}
        quiet = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_S)
        address = self._address(f"/assets/{asset_id}/events")
        with reaching(f"the events of {asset_id} broke off"):
            async with self._open().get(address, headers=headers, timeout=quiet) as response:
                if response.status != 200:
                    raise refusal(response.status, await response.read(), response.headers)
                async for event in read_events(response.content):
                    yield event

    async def wait_terminal(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """Follow an asset until it is on its way no more; raises `StillProcessingError` when patience ends."""
        return await self._until("ready", asset_id, timeout_s, poll_s)

    async def wait_ready(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """As `wait_terminal`, and raises `AssetFailedError` if it ends in any other state than ready."""
        found = await self.wait_terminal(asset_id, timeout_s=timeout_s, poll_s=poll_s)
        if found.state != "ready":
            raise AssetFailedError(found)
        return found

    async def wait_settled(self, asset_id: UUID, *, timeout_s: float = 60.0, poll_s: float = 0.2) -> Asset:
        """As `wait_ready`, and on until every job of it has ended: those of stages that come after it is ready, too."""
        found = await self._until("settled", asset_id, timeout_s, poll_s)
        if found.state != "ready":
            raise AssetFailedError(found)
        return found

    async def _until(
        self, until: Literal["ready", "settled"], asset_id: UUID, timeout_s: float, poll_s: float
    ) -> Asset:
        ended = _is_settled if until == "settled" else _is_terminal
        ends_at = time.monotonic() + timeout_s
        while True:
            left_s = ends_at - time.monotonic()
            try:
                # The API answers at the asset's end: following many costs few of the requests that a plan allows.
                wait_s = min(left_s, _LONGEST_LOOK_S, self._timeout_s / 2)
                query = {"until": until, "wait": f"{wait_s:.3f}"} if wait_s > 0 else {}
                found = await self._asset(asset_id, query, left_s)
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

    async def _asset(self, asset_id: UUID, query: Mapping[str, str], patience_s: float) -> Asset:
        return (await self._call("GET", f"/assets/{asset_id}", query=query, patience_s=patience_s)).data(Asset)

    async def variant(self, asset_id: UUID, name: str, *, accept: str = "*/*") -> AssetVariant:
        """One variant: of a profile, or of a picture in the best format that `accept` allows.

        Raises `NotFoundError` if there is none of that name (yet), an `ApiError` of 406 if there is none to its taste.
        """
        path = f"/assets/{asset_id}/variants/{name}"
        return (await self._call("GET", path, headers={"Accept": accept}, says_where=True)).data(AssetVariant)

    async def original(self, asset_id: UUID, *, download: bool = False) -> AssetOriginal:
        """The upload itself; with `download`, by an address that browsers save as a file under its own name.

        Raises `ConflictError` if it was not completed, or is no longer there.
        """
        query = {"download": "1"} if download else None
        return (await self._call("GET", f"/assets/{asset_id}/original", query=query, says_where=True)).data(
            AssetOriginal
        )

    async def download(self, variant: AssetVariant) -> bytes:
        """A variant's bytes, by its signed address; `save` writes large ones to a file."""
        return await self.read(variant.url)


def _is_terminal(asset: Asset) -> bool:
    return asset.state in _TERMINAL


def _is_settled(asset: Asset) -> bool:
    return _is_terminal(asset) and (asset.state != "ready" or all(job.state in _ENDED for job in asset.jobs))
