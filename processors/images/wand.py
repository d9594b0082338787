"""The general engine: ImageMagick through Wand, for what the fast one cannot read (HEIC, BMP).

It would read more, but not as well: it takes no orientation from PNG and WebP, and a cut TIFF for a whole one.
"""

import ctypes
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wand import exceptions
from wand.api import library
from wand.image import Image
from wand.resource import limits

from processors.contract import MediaError
from processors.images.colour import is_srgb, srgb_profile
from processors.images.protocol import Header, public
from schemas.errors import ErrorCode

# The coder that is forced by format: ImageMagick's own guess would also consider scripts, vectors and video.
CODERS = {"jpeg": "jpeg", "heic": "heic", "bmp": "bmp"}
_SIDEWAYS = frozenset({"left_top", "right_top", "right_bottom", "left_bottom"})
_CUT = re.compile(
    r"truncat|premature|unexpected end|end.of.file|insufficient|not enough|read error|scanline", re.IGNORECASE
)
_POLICY_WIDTH = 16_384


class WandPicture:
    """A picture in memory; see `protocol.Picture`."""

    def __init__(self, image: Any) -> None:
        self._image = image

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self._image.width)

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self._image.height)

    def resized(self, width: int, height: int) -> "WandPicture":
        """See `protocol.Picture.resized`."""
        copy = self._image.clone()
        copy.resize(width, height, filter="triangle" if width * 4 < self.width else "lanczos")
        return WandPicture(copy)

    def cropped(self, width: int, height: int) -> "WandPicture":
        """See `protocol.Picture.cropped`: the middle."""
        copy = self._image.clone()
        copy.crop(width=width, height=height, gravity="center")
        return WandPicture(copy)

    def save(self, path: Path, image_format: str, quality: int) -> None:
        """See `protocol.Picture.save`."""
        if image_format not in {"webp", "jpeg"}:
            raise ValueError(f"cannot write {image_format}")
        with self._image.clone() as copy:
            copy.format = image_format
            copy.compression_quality = quality
            copy.options["webp:method"] = "2"
            if image_format == "jpeg":
                copy.background_color = "white"
                copy.alpha_channel = "remove"
            path.write_bytes(copy.make_blob(image_format))


class WandEngine:
    """See `protocol.Engine`."""

    name = "wand"

    def __init__(self) -> None:
        if limits["width"] != _POLICY_WIDTH:
            raise RuntimeError(
                "ImageMagick runs without the policy of processors/policy; "
                "set the variables of processors.policy.environment() before the process starts"
            )

    def inspect(self, path: Path, image_format: str) -> Header:
        """See `protocol.Engine.inspect`."""
        with _translating(), Image.ping(filename=_address(path, image_format)) as image:
            width, height = int(image.width), int(image.height)
            if image.orientation in _SIDEWAYS:
                width, height = height, width
        if not (width and height):
            raise MediaError(ErrorCode.CORRUPT, "The picture has no pixels.")
        return Header(width, height, 1)

    def decode(self, path: Path, image_format: str, width: int, height: int) -> WandPicture:
        """See `protocol.Engine.decode`."""
        image = Image()
        with _translating():
            # libjpeg then decodes at a half, a quarter or an eighth, never below twice what is asked for.
            side = 2 * max(width, height)
            image.options["jpeg:size"] = f"{side}x{side}"
            image.read(filename=_address(path, image_format))
            if not (image.width and image.height):
                raise MediaError(ErrorCode.CORRUPT, "The picture has no pixels.")
            image.auto_orient()
            if (image.width, image.height) != (width, height):
                image.resize(width, height, filter="lanczos")
            _to_srgb(image)
            image.strip()
            image.depth = 8
            # What was wrong but read all the same waits in the wand, to be raised by whatever comes next: ask now.
            image.raise_exception()
        return WandPicture(image)


def _address(path: Path, image_format: str) -> str:
    if image_format not in CODERS:
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The wand engine does not read {image_format}.")
    return f"{CODERS[image_format]}:{path}[0]"


def _to_srgb(image: Any) -> None:
    profile = image.profiles.get("icc")
    if profile and not is_srgb(profile):
        _convert(image, srgb_profile())
    if image.colorspace not in {"srgb", "gray"}:
        image.transform_colorspace("srgb")


def _convert(image: Any, profile: bytes) -> None:
    """Convert by the embedded profile into another; Wand itself only ever attaches profiles."""
    pointer, size = ctypes.c_void_p(image.wand), ctypes.c_size_t(len(profile))
    if not library.MagickProfileImage(pointer, b"icc", profile, size):
        image.profiles.pop("icc", None)  # broken: ignored, as browsers do
        library.MagickClearException(pointer)


@contextmanager
def _translating() -> Iterator[None]:
    """Wand's exceptions as ours; its warnings matter only where they say that bytes are missing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except exceptions.WandException as error:
            raise _translated(error) from error
    cut = next((str(w.message) for w in caught if _CUT.search(str(w.message))), None)
    if cut:
        raise MediaError(ErrorCode.TRUNCATED, f"The picture ends too early: {public(cut)}")


def _translated(error: Exception) -> MediaError:
    text = public(str(error))
    if isinstance(error, exceptions.PolicyError):
        return MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"Refused by policy: {text}")
    # Going past a limit comes as ResourceLimitError or, from a failed allocation, as a bare WandRuntimeError.
    if isinstance(error, exceptions.ResourceLimitError | exceptions.ResourceLimitFatalError):
        return MediaError(ErrorCode.LIMIT_EXCEEDED, text)
    if "limit" in text.lower() or "resources exhausted" in text.lower():
        return MediaError(ErrorCode.LIMIT_EXCEEDED, text)
    if _CUT.search(text):
        return MediaError(ErrorCode.TRUNCATED, f"The picture ends too early: {text}")
    return MediaError(ErrorCode.CORRUPT, f"The picture cannot be decoded: {text}")
