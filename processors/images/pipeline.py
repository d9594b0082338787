"""The image pipeline: check, decode once, and derive each variant from the smallest picture that is large enough."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from processors.contract import MediaError
from processors.images.completeness import check_complete
from processors.images.engines import engine_for
from processors.images.protocol import WEBP_MAX_SIDE, Header, Picture
from processors.job import Job, Outcome
from schemas.errors import ErrorCode
from schemas.profiles import Profile
from schemas.settings import ProcessorSettings


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int

    def holds(self, other: "Size") -> bool:
        """Whether the other can be made from this by shrinking or cropping."""
        return self.width >= other.width and self.height >= other.height


def process(job: Job, path: Path, image_format: str) -> Outcome:
    """Make a job's variants of a picture.

    Raises `MediaError` for input at fault, before any pixel is decoded where the header tells.
    """
    engine = engine_for(image_format)
    with job.timings.step("inspect"):
        check_complete(path, image_format)
        header = engine.inspect(path, image_format)
        check_limits(header, job.settings)
    if job.wanted:
        source = Size(header.width, header.height)
        base = base_size(source, job.wanted)
        with job.timings.step("decode"):
            pictures = [engine.decode(path, image_format, *base)]
        for profile in sorted(job.wanted, key=lambda profile: _area(scaled_size(source, profile)), reverse=True):
            with job.timings.step(profile.name):
                picture = _derive(pictures, source, profile)
                picture.save(job.output(profile), profile.format, profile.quality or 80)
                job.finish(profile, picture.width, picture.height)
    return Outcome(kind="image", format=image_format, width=header.width, height=header.height)


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

    A `crop` covers its box (as far as the source reaches), the others fit their width or height; all fit WebP.
    """
    across = (profile.width or source.width) / source.width
    down = (profile.height or source.height) / source.height
    factor = {"crop": max(across, down), "width": across, "height": down}[profile.fit]
    factor = min(factor, 1.0, WEBP_MAX_SIDE / max(source))
    return Size(max(1, round(source.width * factor)), max(1, round(source.height * factor)))


def base_size(source: Size, profiles: Sequence[Profile]) -> Size:
    """The one size to decode to, from which every profile can be derived."""
    return max((scaled_size(source, profile) for profile in profiles), key=_area)


def _derive(pictures: list[Picture], source: Size, profile: Profile) -> Picture:
    """Make a profile's picture from the smallest one at hand; what is made by scaling alone is kept for the next."""
    target = scaled_size(source, profile)
    at_hand = [picture for picture in pictures if Size(picture.width, picture.height).holds(target)]
    nearest = min(at_hand, key=lambda picture: picture.width * picture.height)
    picture = nearest if (nearest.width, nearest.height) == target else nearest.resized(*target)
    if profile.fit != "crop":
        pictures.append(picture)
        return picture
    return _crop(picture, Size(profile.width or target.width, profile.height or target.height))


def _crop(picture: Picture, box: Size) -> Picture:
    """Cut to the box's shape, then scale to its size if the picture was smaller than the box."""
    factor = min(picture.width / box.width, picture.height / box.height, 1.0)
    cut = picture.cropped(max(1, round(box.width * factor)), max(1, round(box.height * factor)))
    return cut if (cut.width, cut.height) == box else cut.resized(*box)


def _area(size: Size) -> int:
    return size.width * size.height
