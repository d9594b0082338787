"""What the demo's client does: upload, follow, download. It uses nothing but the HTTP API, as any client would."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from cli.client import Asset, MedialaneClient
from cli.demo.timeline import Step
from schemas.profiles import profiles_for
from schemas.states import Stage


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One asset's way as its client saw it.

    `asset` has the variants of its first stage, `contents` their bytes by profile, `later` the others' profiles.
    """

    path: Path
    stage: Stage
    asset_id: UUID
    traceparent: str | None
    steps: tuple[Step, ...]
    asset: Asset
    later: tuple[str, ...]
    contents: dict[str, bytes]


def stage_of(path: Path) -> tuple[Stage, str]:
    """The stage that will work on a sample file, and the content type to declare."""
    if path.suffix == ".mp4":
        return Stage.VIDEO_PRIMARY, "video/mp4"
    return Stage.IMAGE_PRIMARY, "image/jpeg"


async def upload_and_follow(
    client: MedialaneClient, path: Path, tell: Callable[[str], None], *, patience_s: float
) -> Upload:
    """Presign, PUT, complete, follow until all is done, download what came first. Raises a kind of `ClientError`."""
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
    everything = await client.wait_settled(presigned.asset_id, timeout_s=patience_s)
    asset, later = _parted(everything, stage)
    contents = await asyncio.gather(*(client.download(variant) for variant in asset.variants))
    tell(f"{path.name} ready, {len(contents)} variants downloaded")
    return Upload(
        path=path,
        stage=stage,
        asset_id=presigned.asset_id,
        traceparent=completed.traceparent,
        steps=tuple(steps),
        asset=asset,
        later=later,
        contents={variant.profile: content for variant, content in zip(asset.variants, contents, strict=True)},
    )


def _parted(asset: Asset, stage: Stage) -> tuple[Asset, tuple[str, ...]]:
    first = {profile.name for profile in profiles_for(stage)}
    parted = msgspec.structs.replace(asset, variants=[each for each in asset.variants if each.profile in first])
    return parted, tuple(each.profile for each in asset.variants if each.profile not in first)


class _Timed:
    """Notes a step's begin and length."""

    def __init__(self, steps: list[Step], name: str) -> None:
        self._steps, self._name = steps, name
        self._began, self._clock = 0.0, 0.0

    async def __aenter__(self) -> None:
        self._began, self._clock = time.time(), time.perf_counter()

    async def __aexit__(self, *_: object) -> None:
        self._steps.append(Step(self._name, self._began, time.perf_counter() - self._clock))
