"""Variant profiles as data: what is made of an upload, in which size and format.

A profile's `version` is part of every object key: change what a profile means, and raise it.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from schemas.states import MediaKind, Stage


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One variant.

    Sizes are pixels. A source smaller than the asked-for width or height keeps its own size (never upscaled);
    `crop` always gives exactly `width` x `height`.
    """

    name: str
    version: int
    stage: Stage
    format: Literal["webp", "jpeg", "mp4"]
    content_type: str
    fit: Literal["crop", "width", "height"]
    width: int | None = None
    height: int | None = None
    quality: int | None = None
    max_seconds: float | None = None
    audio: bool = True

    @property
    def extension(self) -> str:
        """The file name extension of the variant, without a dot."""
        return {"jpeg": "jpg"}.get(self.format, self.format)


_IMAGE, _VIDEO = Stage.IMAGE_PRIMARY, Stage.VIDEO_PRIMARY

DEFAULT_PROFILES: tuple[Profile, ...] = (
    Profile(
        name="thumbnail",
        version=1,
        stage=_IMAGE,
        format="webp",
        content_type="image/webp",
        fit="crop",
        width=256,
        height=256,
        quality=80,
    ),
    Profile(
        name="display_small",
        version=1,
        stage=_IMAGE,
        format="webp",
        content_type="image/webp",
        fit="width",
        width=512,
        quality=80,
    ),
    Profile(
        name="display_large",
        version=1,
        stage=_IMAGE,
        format="webp",
        content_type="image/webp",
        fit="width",
        width=1280,
        quality=80,
    ),
    Profile(
        name="poster",
        version=1,
        stage=_VIDEO,
        format="jpeg",
        content_type="image/jpeg",
        fit="width",
        width=640,
        quality=82,
    ),
    Profile(
        name="video_720p",
        version=1,
        stage=_VIDEO,
        format="mp4",
        content_type="video/mp4",
        fit="height",
        height=720,
        quality=23,
    ),
    Profile(
        name="preview",
        version=1,
        stage=_VIDEO,
        format="mp4",
        content_type="video/mp4",
        fit="width",
        width=854,
        quality=28,
        max_seconds=4.0,
        audio=False,
    ),
)


def profiles_for(stage: Stage) -> tuple[Profile, ...]:
    """The profiles that a stage makes, in the order in which they are announced."""
    return tuple(profile for profile in DEFAULT_PROFILES if profile.stage is stage)


def stages_after(stage: Stage, profiles: Iterable[Profile] = DEFAULT_PROFILES) -> tuple[Stage, ...]:
    """The stages that follow a primary one, as far as there is something to make in them; none follow the others."""
    wanted = {profile.stage for profile in profiles}
    return tuple(
        each for each in Stage if stage.primary and not each.primary and each.kind is stage.kind and each in wanted
    )


ACCEPTED_TYPES: dict[str, MediaKind] = {
    "image/jpeg": MediaKind.IMAGE,
    "image/png": MediaKind.IMAGE,
    "image/webp": MediaKind.IMAGE,
    "image/gif": MediaKind.IMAGE,
    "image/avif": MediaKind.IMAGE,
    "image/heic": MediaKind.IMAGE,
    "image/heif": MediaKind.IMAGE,
    "image/tiff": MediaKind.IMAGE,
    "image/bmp": MediaKind.IMAGE,
    "video/mp4": MediaKind.VIDEO,
    "video/quicktime": MediaKind.VIDEO,
    "video/x-matroska": MediaKind.VIDEO,
    "video/webm": MediaKind.VIDEO,
    "video/x-msvideo": MediaKind.VIDEO,
}
"""Content types that presign accepts, and the job topic's kind that each leads to."""
