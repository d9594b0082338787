"""Animations stay animations: every frame scaled, as one animated WebP, for those who ask for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips

from processors.contract import MediaError
from processors.images.vips import translated
from schemas.errors import ErrorCode

ANIMATED = frozenset({"gif", "webp", "png"})
"""Formats that may have frames."""

_EFFORT = 2


def animated_webp(path: Path, image_format: str, width: int, height: int, quality: int) -> bytes:
    """All frames at this size. The caller has bounded their number. Raises `MediaError`, permanent."""
    try:
        if image_format == "png":
            frames = _joined(path, width, height)
        else:
            frames = pyvips.Image.thumbnail(f"{path}[n=-1]", width, height=height, size="force", no_rotate=True)
        return bytes(frames.webpsave_buffer(Q=quality, effort=_EFFORT, keep="none"))
    except pyvips.Error as error:
        raise translated(error) from error


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
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    joined.set_type(pyvips.GValue.array_int_type, "delay", delays)
    joined.set_type(pyvips.GValue.gint_type, "loop", 0)
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
