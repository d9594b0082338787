"""What an image engine must do; the cascade is written against it, and one contract suite holds every engine to it."""

import re
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

WEBP_MAX_SIDE = 16_383
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height

Focus = Literal["attention", "centre"] | tuple[float, float]
"""What a crop keeps: what draws the eye, the middle, or a point in shares of width and height."""


def public(text: str) -> str:
    """A library's message as one line, without paths of temporary files or of sources."""
    return re.sub(r"[\"'`]?(\w+:)?/[^\s\"'`:]*[\"'`]?", "the file", " ".join(text.split()))[:300]


def turned(orientation: int, width: int, height: int) -> tuple[int, int]:
    """Width and height as they are upright, of those that are stored; or the other way round."""
    return (height, width) if orientation in _SIDEWAYS else (width, height)


class Header(NamedTuple):
    """What a file says of itself before any pixel is decoded. Width and height in pixels, as they will be upright.

    `orientation` is EXIF's number; `color_space` a word of `schemas.details.Details`.
    """

    width: int
    height: int
    frames: int
    orientation: int = 1
    alpha: bool = False
    bit_depth: int = 8
    color_space: str = "srgb"


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

    def cropped(self, width: int, height: int, focus: Focus = "attention") -> "Picture":
        """A part of exactly this size, which must fit."""
        ...

    def encoded(self, image_format: str, quality: int) -> bytes:
        """The file, as `webp`, `jpeg` or `avif`, without any metadata; for JPEG, alpha is laid on white.

        WebP is without loss where that makes no larger a file, as of screenshots and drawings.

        Encoding happens in memory, so that a full disk is seen as one when the bytes are written.
        """
        ...

    def rgba(self) -> bytes:
        """The pixels, four bytes each, row by row: for small pictures."""
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
