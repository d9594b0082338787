"""What the demo's client does: upload, follow, download. It uses nothing but the HTTP API, as any client would."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from cli.client import Asset, AssetVariant, MedialaneClient
from cli.demo.bundles import fetch_others
from cli.demo.timeline import Step
from schemas.states import Stage


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One asset's way as its client saw it.

    `files` are what was downloaded of each variant, by profile and name: the variant itself, then what it names.
    """

    path: Path
    stage: Stage
    asset_id: UUID
    traceparent: str | None
    steps: tuple[Step, ...]
    asset: Asset
    files: dict[str, dict[str, bytes]]


def stage_of(path: Path) -> tuple[Stage, str]:
    """The stage that will work on a sample file, and the content type to declare."""
    if path.suffix == ".mp4":
        return Stage.VIDEO_PRIMARY, "video/mp4"
    return Stage.IMAGE_PRIMARY, "image/jpeg"


async def upload_and_follow(
    client: MedialaneClient, path: Path, tell: Callable[[str], None], *, patience_s: float
) -> Upload:
    """Presign, PUT, complete, follow until all is done, download all of it. Raises a kind of `ClientError`."""
    stage, content_type = stage_of(path)
    size = (await asyncio.to_thread(path.stat)).st_size
    steps: list[Step] = []
    async with _Timed(steps, "presign"):
        presigned = await client.presign(path.name, content_type, size)
    async with _Timed(steps, "put"):
        await client.put(presigned, path, content_type)
    async with _Timed(steps, "complete"):
        completed = await client.complete(presigned.asset_id)
    tell(f"{path.name} uploaded")
    asset = await client.wait_settled(presigned.asset_id, timeout_s=patience_s)
    files = await asyncio.gather(*(_download(client, variant) for variant in asset.variants))
    tell(f"{path.name} ready, {len(files)} variants downloaded")
    return Upload(
        path=path,
        stage=stage,
        asset_id=presigned.asset_id,
        traceparent=completed.traceparent,
        steps=tuple(steps),
        asset=asset,
        files={variant.profile: found for variant, found in zip(asset.variants, files, strict=True)},
    )


async def _download(client: MedialaneClient, variant: AssetVariant) -> dict[str, bytes]:
    content = await client.download(variant)
    return {PurePosixPath(urlsplit(variant.url).path).name: content} | await fetch_others(client.read, variant, content)


class _Timed:
    """Notes a step's begin and length."""

    def __init__(self, steps: list[Step], name: str) -> None:
        self._steps, self._name = steps, name
        self._began, self._clock = 0.0, 0.0

    async def __aenter__(self) -> None:
        self._began, self._clock = time.time(), time.perf_counter()

    async def __aexit__(self, *_: object) -> None:
        self._steps.append(Step(self._name, self._began, time.perf_counter() - self._clock))
