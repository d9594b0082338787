"""Animations stay animations: every frame scaled, upright and in sRGB, as one animated WebP, for those who ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips

from processors.contract import MediaError
from processors.images.colour import to_srgb
from processors.images.png import code_points, plays
from processors.images.protocol import turned
from processors.images.vips import translated
from schemas.errors import ErrorCode

ANIMATED = frozenset({"gif", "webp", "png"})
"""Formats that may have frames."""

_EFFORT = 2
_MOST_PLAYS = 65_535  # that WebP can tell


def animated_webp(path: Path, image_format: str, orientation: int, width: int, height: int, *, quality: int) -> bytes:
    """All frames at this size, as they are upright. The caller has bounded their number.

    `orientation` is EXIF's number of what is stored. Raises `MediaError`, permanent.
    """
    across, down = turned(orientation, width, height)
    try:
        if image_format == "png":
            frames = _joined(path, across, down)
        else:
            stored = pyvips.Image.thumbnail(f"{path}[n=-1]", across, height=down, size="force", no_rotate=True)
            frames = to_srgb(stored)
        if orientation > 1:
            frames = _upright(frames, orientation)
        return bytes(frames.webpsave_buffer(Q=quality, effort=_EFFORT, keep="none"))
    except pyvips.Error as error:
        raise translated(error) from error


def _upright(frames: Any, orientation: int) -> Any:
    """Each frame turned by itself: libvips would turn the whole pile of them."""
    pile, stored = frames.copy_memory(), frames.get("page-height")
    pile.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    turned = [pile.crop(0, top, pile.width, stored).autorot() for top in range(0, pile.height, stored)]
    joined = pyvips.Image.arrayjoin(turned, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", turned[0].height)
    return joined


def _joined(path: Path, width: int, height: int) -> Any:
    """The frames of an APNG one below the other, as libvips wants an animation: of one it reads only the first."""
    scaled, delays = [], []
    for pixels, (across, down), delay in _frames(path):
        frame = pyvips.Image.new_from_memory(pixels, across, down, 4, "uchar").copy(interpretation="srgb")
        scaled.append(frame.thumbnail_image(width, height=height, size="force", no_rotate=True).copy_memory())
        delays.append(delay)
    if not scaled:
        raise MediaError(ErrorCode.CORRUPT, "The animation has no frames.")
    joined = pyvips.Image.arrayjoin(scaled, across=1).copy()
    still = pyvips.Image.new_from_file(str(path))
    if still.get_typeof("icc-profile-data"):
        joined.set_type(pyvips.GValue.blob_type, "icc-profile-data", still.get("icc-profile-data"))
    joined = to_srgb(joined, code_points(path)).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    joined.set_type(pyvips.GValue.array_int_type, "delay", delays)
    joined.set_type(pyvips.GValue.gint_type, "loop", min(plays(path), _MOST_PLAYS))
    return joined


def _frames(path: Path) -> Iterator[tuple[bytes, tuple[int, int], int]]:
    """RGBA pixels of each frame as shown, its size, and for how long, milliseconds."""
    from PIL import Image, ImageSequence  # noqa: PLC0415 - most children never see an APNG

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            for place, frame in enumerate(ImageSequence.Iterator(picture)):
                # The picture for those that cannot show an animation may stand before it, and is not of it.
                if place or not getattr(picture, "default_image", False):
                    yield frame.convert("RGBA").tobytes(), frame.size, round(frame.info.get("duration", 0))
    except (SyntaxError, ValueError, EOFError, OSError, Image.DecompressionBombError) as error:
        raise MediaError(ErrorCode.CORRUPT, f"The animation cannot be decoded: {type(error).__name__}.") from error
