"""The general engine: ImageMagick through Wand, for what the fast one cannot read (BMP).

It would read more, but not as well: it takes no orientation from PNG and WebP, and a cut TIFF for a whole one.
"""

import ctypes
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyvips
from wand import exceptions
from wand.api import library
from wand.image import ORIENTATION_TYPES, STORAGE_TYPES, Image
from wand.resource import limits

from processors.contract import MediaError
from processors.images.colour import profile_name, to_srgb
from processors.images.picture import VipsPicture, scaled
from processors.images.protocol import Header, public, turned
from schemas.errors import ErrorCode

# The coder that is forced by format: ImageMagick's own guess would also consider scripts, vectors and video.
CODERS = {"jpeg": "jpeg", "bmp": "bmp"}
_CUT = re.compile(
    r"truncat|premature|unexpected end|end.of.file|insufficient|not enough|read error|scanline", re.IGNORECASE
)
_POLICY_WIDTH = 16_384


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
            orientation = max(1, ORIENTATION_TYPES.index(image.orientation))
            width, height = turned(orientation, int(image.width), int(image.height))
            colors = profile_name(image.profiles.get("icc")) if image.colorspace == "srgb" else str(image.colorspace)
            alpha, depth = bool(image.alpha_channel), int(image.depth)
        if not (width and height):
            raise MediaError(ErrorCode.CORRUPT, "The picture has no pixels.")
        return Header(width, height, 1, orientation, alpha, depth, colors)

    def decode(self, path: Path, image_format: str, width: int, height: int) -> VipsPicture:
        """See `protocol.Engine.decode`."""
        with Image() as image:
            with _translating():
                # libjpeg then decodes at a half, a quarter or an eighth, never below twice what is asked for.
                side = 2 * max(width, height)
                image.options["jpeg:size"] = f"{side}x{side}"
                image.read(filename=_address(path, image_format))
                if not (image.width and image.height):
                    raise MediaError(ErrorCode.CORRUPT, "The picture has no pixels.")
                image.auto_orient()
                # What was wrong but read all the same waits in the wand, to be raised by whatever comes next: ask now.
                image.raise_exception()
            pixels = _handed_over(image)
        # libvips scales an 8-bit picture in a tenth of the time that ImageMagick takes for its 16 bits a channel.
        return VipsPicture(to_srgb(scaled(pixels, width, height)).copy_memory())


def _handed_over(image: Any) -> Any:
    """The picture as libvips has it, with its colour profile."""
    profile = image.profiles.get("icc")
    if image.colorspace not in {"srgb", "gray"}:
        image.transform_colorspace("srgb")
        profile = None
    channels = "RGBA" if image.alpha_channel else "RGB"
    width, height = image.width, image.height
    buffer = ctypes.create_string_buffer(width * height * len(channels))
    exported = library.MagickExportImagePixels(
        image.wand, 0, 0, width, height, channels.encode(), STORAGE_TYPES.index("char"), buffer
    )
    if not exported:
        image.raise_exception()
    pixels = pyvips.Image.new_from_memory(buffer, width, height, len(channels), "uchar").copy(interpretation="srgb")
    if profile:
        pixels.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return pixels


def _address(path: Path, image_format: str) -> str:
    if image_format not in CODERS:
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The wand engine does not read {image_format}.")
    return f"{CODERS[image_format]}:{path}[0]"


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
