"""Variant profiles as data: what is made of an upload, in which size and format.

A profile's `version` is part of every object key: change what a profile means, and raise it.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from schemas.states import MediaKind, Stage


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One rendition of a ladder: its shorter side in pixels, its x264 quality, and its ceiling in kbit/s."""

    side: int
    quality: int
    max_kbps: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One variant.

    Sizes are pixels, and a source is never enlarged. `fit` says how it comes to its size: `width` and `height` scale to
    that one side, `inside` into a box of both; `crop` fills the box's shape, and is smaller than it only if the source
    is. `focus` is what a crop keeps: what draws the eye, the middle, or a point (shares of width and height, 0 to 1).
    Above `target_bytes` the quality is lowered until the file fits, as far as that goes.
    `loudness` is what sound is brought to, LUFS. `hls` and `storyboard` are several files in one folder that name each
    other.
    """

    name: str
    version: int
    stage: Stage
    format: Literal["webp", "jpeg", "avif", "mp4", "hls", "storyboard", "m4a", "png", "json"]
    content_type: str
    fit: Literal["crop", "width", "height", "inside"]
    width: int | None = None
    height: int | None = None
    focus: Literal["attention", "centre"] | tuple[float, float] = "attention"
    quality: int | None = None
    target_bytes: int | None = None
    animated: bool = False  # made of animations only, and moves
    max_seconds: float | None = None
    audio: bool = True
    loudness: float | None = None
    rungs: tuple[Rung, ...] = ()

    @property
    def extension(self) -> str:
        """The file name extension of the variant, without a dot."""
        return {"jpeg": "jpg", "hls": "m3u8", "storyboard": "vtt"}.get(self.format, self.format)

    @property
    def is_bundle(self) -> bool:
        """Whether the variant is several files, of which the first to read has the profile's extension."""
        return self.format in {"hls", "storyboard"}


_IMAGE, _AVIF = Stage.IMAGE_PRIMARY, Stage.IMAGE_AVIF
_VIDEO, _LADDER, _AUDIO = Stage.VIDEO_PRIMARY, Stage.VIDEO_LADDER, Stage.AUDIO_PRIMARY
_STREAMING_LUFS = -16.0


def _pictures(
    suffix: str, stage: Stage, image_format: Literal["webp", "jpeg", "avif"], quality: int, version: int = 1
) -> tuple[Profile, ...]:
    """The three sizes of a picture in one format."""

    def made(name: str, fit: Literal["crop", "width"], width: int, height: int | None = None) -> Profile:
        return Profile(
            name=f"{name}{suffix}",
            version=version,
            stage=stage,
            format=image_format,
            content_type=f"image/{image_format}",
            fit=fit,
            width=width,
            height=height,
            quality=quality,
        )

    return (
        made("thumbnail", "crop", 256, 256),
        made("display_small", "width", 512),
        made("display_large", "width", 1280),
    )


_WEBP = _pictures("", _IMAGE, "webp", 80)
_JPEG = _pictures("_jpeg", _IMAGE, "jpeg", 80)
_AVIFS = _pictures("_avif", _AVIF, "avif", 60)
_ANIMATION = Profile(
    name="animation",
    version=1,
    stage=_AVIF,
    format="webp",
    content_type="image/webp",
    fit="width",
    width=512,
    quality=70,
    animated=True,
)
_VIDEOS: tuple[Profile, ...] = (
    Profile(
        name="poster",
        version=3,
        stage=_VIDEO,
        format="jpeg",
        content_type="image/jpeg",
        fit="width",
        width=640,
        quality=82,
    ),
    Profile(
        name="video_720p",
        version=3,
        stage=_VIDEO,
        format="mp4",
        content_type="video/mp4",
        fit="height",
        height=720,
        quality=23,
        loudness=_STREAMING_LUFS,
    ),
    Profile(
        name="preview",
        version=2,
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
_STREAMING: tuple[Profile, ...] = (
    Profile(
        name="storyboard",
        version=3,
        stage=_LADDER,
        format="storyboard",
        content_type="text/vtt",
        fit="width",
        width=192,
        quality=70,
    ),
    Profile(
        name="hls",
        version=3,
        stage=_LADDER,
        format="hls",
        content_type="application/vnd.apple.mpegurl",
        fit="height",
        loudness=_STREAMING_LUFS,
        rungs=(
            Rung(side=1080, quality=23, max_kbps=6000),
            Rung(side=720, quality=23, max_kbps=3200),
            Rung(side=480, quality=23, max_kbps=1600),
            Rung(side=360, quality=23, max_kbps=900),
            Rung(side=240, quality=24, max_kbps=450),
        ),
    ),
)
_SOUNDS: tuple[Profile, ...] = (
    Profile(
        name="audio",
        version=2,
        stage=_AUDIO,
        format="m4a",
        content_type="audio/mp4",
        fit="width",
        loudness=_STREAMING_LUFS,
    ),
    Profile(
        name="waveform",
        version=1,
        stage=_AUDIO,
        format="png",
        content_type="image/png",
        fit="crop",
        width=1200,
        height=200,
    ),
    Profile(
        name="waveform_data",
        version=1,
        stage=_AUDIO,
        format="json",
        content_type="application/json",
        fit="width",
        width=1200,
    ),
)

DEFAULT_PROFILES: tuple[Profile, ...] = (*_WEBP, _JPEG[2], *_AVIFS, *_VIDEOS, *_STREAMING, *_SOUNDS)
"""What is made for tenants that chose nothing: pictures in WebP, the large one in JPEG for old clients, then AVIF."""

CATALOGUE: dict[str, Profile] = {
    each.name: each for each in (*_WEBP, *_JPEG, *_AVIFS, _ANIMATION, *_VIDEOS, *_STREAMING, *_SOUNDS)
}
"""Every profile of ours by its name."""

PROFILE_SETS: dict[str, tuple[Profile, ...]] = {
    "default": DEFAULT_PROFILES,
    "webp": _WEBP,
    "jpeg": _JPEG,
    "avif": _AVIFS,
    "animated": (_ANIMATION,),
    "clips": _VIDEOS,
    "streaming": _STREAMING,
    "sound": _SOUNDS,
}
"""Profiles that are chosen together, by the set's name."""


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
    "image/apng": MediaKind.IMAGE,
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
    "audio/mpeg": MediaKind.AUDIO,
    "audio/mp4": MediaKind.AUDIO,
    "audio/x-m4a": MediaKind.AUDIO,
    "audio/aac": MediaKind.AUDIO,
    "audio/wav": MediaKind.AUDIO,
    "audio/x-wav": MediaKind.AUDIO,
    "audio/flac": MediaKind.AUDIO,
    "audio/x-flac": MediaKind.AUDIO,
    "audio/ogg": MediaKind.AUDIO,
    "audio/opus": MediaKind.AUDIO,
}
"""Content types that presign accepts, and the job topic's kind that each leads to."""
