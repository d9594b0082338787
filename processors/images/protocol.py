"""What an image engine must do; the cascade is written against it, and one contract suite holds every engine to it."""

import re
from pathlib import Path
from typing import NamedTuple, Protocol

WEBP_MAX_SIDE = 16_383


def public(text: str) -> str:
    """A library's message as one line, without paths of temporary files or of sources."""
    return re.sub(r"[\"'`]?(\w+:)?/[^\s\"'`:]*[\"'`]?", "the file", " ".join(text.split()))[:300]


class Header(NamedTuple):
    """What a file says of itself before any pixel is decoded. Width and height in pixels, as they will be upright."""

    width: int
    height: int
    frames: int


class Picture(Protocol):
    """A decoded picture: upright, 8-bit sRGB with or without alpha. Never changed in place."""

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    def resized(self, width: int, height: int) -> "Picture":
        """Scaled to exactly this size, the aspect ratio not kept."""
        ...

    def cropped(self, width: int, height: int) -> "Picture":
        """A part of exactly this size, which must fit: the part that draws the eye, or the middle."""
        ...

    def save(self, path: Path, image_format: str, quality: int) -> None:
        """Write as `webp` or `jpeg` without any metadata; for JPEG, alpha is laid on white.

        Raises `OSError` when the file cannot be written: encoding happens in memory, so a full disk is seen as one.
        """
        ...


class Engine(Protocol):
    """Reads files of some formats. `image_format` is the sniffed one: the engine must force it, never guess again.

    Every method raises `MediaError`, permanent, for input at fault: `truncated`, `corrupt`, `limit_exceeded`.
    """

    name: str

    def inspect(self, path: Path, image_format: str) -> Header:
        """Read the header only."""
        ...

    def decode(self, path: Path, image_format: str, width: int, height: int) -> Picture:
        """Decode the first frame, straight to this size (upright pixels), colours converted to sRGB."""
        ...
