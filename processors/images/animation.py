"""Animations stay animations: every frame scaled, as one animated WebP, for those who ask for it."""

from pathlib import Path

import pyvips

from processors.images.vips import translated

ANIMATED = frozenset({"gif", "webp"})
"""Formats whose frames libvips reads; of an APNG it reads the first."""

_EFFORT = 2


def animated_webp(path: Path, width: int, height: int, quality: int) -> bytes:
    """All frames at this size. The caller has bounded their number. Raises `MediaError`, permanent."""
    try:
        frames = pyvips.Image.thumbnail(f"{path}[n=-1]", width, height=height, size="force", no_rotate=True)
        return bytes(frames.webpsave_buffer(Q=quality, effort=_EFFORT, keep="none"))
    except pyvips.Error as error:
        raise translated(error) from error
