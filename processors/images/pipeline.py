"""The image pipeline: check, decode once, and derive each variant from the smallest picture that is large enough."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from processors.contract import MediaError
from processors.images.animation import ANIMATED, animated_webp
from processors.images.completeness import check_complete
from processors.images.engines import engine_for
from processors.images.placeholder import placeholder_of
from processors.images.protocol import WEBP_MAX_SIDE, Header, Picture
from processors.job import Job, Outcome
from schemas.details import Details
from schemas.errors import ErrorCode
from schemas.profiles import CATALOGUE, Profile
from schemas.settings import ProcessorSettings

_QUALITY = 80
_LEAST_QUALITY = 20  # below it a picture is no use, however small
_PLACEHOLDER_SIDE = 128


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int

    def holds(self, other: "Size") -> bool:
        """Whether the other can be made from this by shrinking or cropping."""
        return self.width >= other.width and self.height >= other.height

    def within(self, width: int, height: int) -> "Size":
        """Scaled to fit into a box, never above itself."""
        factor = min(width / self.width, height / self.height, 1.0)
        return Size(max(1, round(self.width * factor)), max(1, round(self.height * factor)))


def process(job: Job, path: Path, image_format: str) -> Outcome:
    """Make a job's variants of a picture.

    Raises `MediaError` for input at fault, before any pixel is decoded where the header tells.
    """
    engine = engine_for(image_format)
    with job.timings.step("inspect"):
        check_complete(path, image_format)
        header = engine.inspect(path, image_format)
        check_limits(header, job.settings)
    source = Size(header.width, header.height)
    still = [profile for profile in job.profiles if not profile.animated]
    pictures: list[Picture] = []
    # A primary stage needs a picture for the placeholder, even if every variant was made by an earlier attempt.
    if still or job.stage.primary:
        with job.timings.step("decode"):
            size = base_size(source, still) if still else source.within(_PLACEHOLDER_SIDE, _PLACEHOLDER_SIDE)
            pictures = [engine.decode(path, image_format, *size)]
    for profile in sorted(still, key=lambda profile: _area(scaled_size(source, profile)), reverse=True):
        with job.timings.step(_step(profile)):
            picture = _derive(pictures, source, profile)
            job.output(profile).write_bytes(encoded(picture, profile))
            job.finish(profile, picture.width, picture.height)
    for profile in (profile for profile in job.profiles if profile.animated and header.frames > 1):
        with job.timings.step(_step(profile)):
            _animate(job, profile, path, image_format, header)
    details = _details(header, image_format)
    if pictures and job.stage.primary:
        with job.timings.step("placeholder"):
            smallest = min(pictures, key=lambda picture: picture.width * picture.height)
            shown = placeholder_of(smallest)
        details = replace(details, thumbhash=shown.thumbhash, dominant_color=shown.dominant_color)
    return Outcome(kind="image", format=image_format, width=header.width, height=header.height, details=details)


def _step(profile: Profile) -> str:
    """A step's name; it becomes a metric's label, which a tenant's own names must not."""
    return profile.name if profile.name in CATALOGUE else "own"


def _details(header: Header, image_format: str) -> Details:
    return Details(
        format=image_format,
        orientation=header.orientation,
        alpha=header.alpha,
        bit_depth=header.bit_depth,
        color_space=header.color_space,
        frames=header.frames,
    )


def encoded(picture: Picture, profile: Profile) -> bytes:
    """A profile's file; above its target size the best quality that fits, or the lowest if none does."""
    quality = profile.quality or _QUALITY
    data = picture.encoded(profile.format, quality)
    if profile.target_bytes is None or len(data) <= profile.target_bytes:
        return data
    low, high, best = _LEAST_QUALITY, quality - 1, None
    while low <= high:
        middle = (low + high) // 2
        data = picture.encoded(profile.format, middle)
        if len(data) <= profile.target_bytes:
            best, low = data, middle + 1
        else:
            high = middle - 1
    return best if best is not None else data


def _animate(job: Job, profile: Profile, path: Path, image_format: str, header: Header) -> None:
    """Make an animation of an animation, unless it would take too much memory; then there is none."""
    target = scaled_size(Size(header.width, header.height), profile)
    if image_format not in ANIMATED or _area(target) * header.frames > job.settings.max_image_pixels:
        return
    data = animated_webp(path, image_format, header.orientation, *target, quality=profile.quality or _QUALITY)
    job.output(profile).write_bytes(data)
    job.finish(profile, *target)


def check_limits(header: Header, settings: ProcessorSettings) -> None:
    """Refuse what would cost too much to decode. Raises `MediaError`, permanent."""
    side, pixels = max(header.width, header.height), header.width * header.height
    if side > settings.max_image_side or pixels > settings.max_image_pixels:
        raise MediaError(
            ErrorCode.TOO_MANY_PIXELS,
            f"{header.width} x {header.height} pixels; allowed are {settings.max_image_pixels} in all "
            f"and {settings.max_image_side} a side.",
        )
    if header.frames > settings.max_frames:
        raise MediaError(ErrorCode.TOO_MANY_FRAMES, f"{header.frames} frames; allowed are {settings.max_frames}.")


def scaled_size(source: Size, profile: Profile) -> Size:
    """The size to which a picture is scaled for a profile, before a crop; never above the source.

    A `crop` covers its box (as far as the source reaches), the others fit their side or box; all fit WebP.
    """
    across = (profile.width or source.width) / source.width
    down = (profile.height or source.height) / source.height
    factor = {"crop": max(across, down), "width": across, "height": down, "inside": min(across, down)}[profile.fit]
    factor = min(factor, 1.0, WEBP_MAX_SIDE / max(source))
    return Size(max(1, round(source.width * factor)), max(1, round(source.height * factor)))


def base_size(source: Size, profiles: Sequence[Profile]) -> Size:
    """The one size to decode to, from which every profile can be derived."""
    return max((scaled_size(source, profile) for profile in profiles), key=_area)


def _derive(pictures: list[Picture], source: Size, profile: Profile) -> Picture:
    """Make a profile's picture from the smallest one at hand; what is made by scaling is kept for the next."""
    target = scaled_size(source, profile)
    at_hand = [picture for picture in pictures if Size(picture.width, picture.height).holds(target)]
    nearest = min(at_hand, key=lambda picture: picture.width * picture.height)
    picture = nearest if (nearest.width, nearest.height) == target else nearest.resized(*target)
    pictures.append(picture)
    if profile.fit != "crop":
        return picture
    box = crop_size(target, profile)
    return picture.cropped(*box, profile.focus)


def crop_size(scaled: Size, profile: Profile) -> Size:
    """The largest part of a scaled picture that has the box's shape, never above the box."""
    box = Size(profile.width or scaled.width, profile.height or scaled.height)
    return box.within(*scaled)


def _area(size: Size) -> int:
    return size.width * size.height
