"""The fast engine: libvips, for the formats that its wheel reads. It shrinks while decoding, and its WebP is clean."""

from pathlib import Path
from typing import Any

import pyvips

from processors.contract import MediaError
from processors.images import png
from processors.images.colour import color_space, is_srgb, profile_of, to_srgb
from processors.images.heif import code_points
from processors.images.light import Cicp
from processors.images.picture import VipsPicture, scaled
from processors.images.protocol import Header, public, turned
from schemas.errors import ErrorCode

# The loaders of libvips by format; all others are blocked, so that its own sniffing cannot choose, say, SVG.
LOADERS = {
    "jpeg": "VipsForeignLoadJpeg",
    "png": "VipsForeignLoadPng",
    "webp": "VipsForeignLoadWebp",
    "avif": "VipsForeignLoadHeif",
    "gif": "VipsForeignLoadNsgif",
    "tiff": "VipsForeignLoadTiff",
}
# How bad a fault must be to fail the picture; in GIFs, missing frame data counts only as a warning.
_STRICTNESS = {"gif": "warning"}
_TRUNCATED = (
    "premature end",
    "truncated",
    "end of stream",
    "end of file",
    "unexpected end",
    "not enough",
    "bytes, expected",  # libtiff's, of a strip
)
# What libtiff, libjpeg and libvips say of files that may be whole, but are of a kind that they do not read.
_UNSUPPORTED = (
    "support is not configured",
    "decoding is not implemented",
    "unsupported bitspersample",
    "unsupported tiff image type",
    "unsupported jpeg process",
    "unsupported jpeg data precision",
)


class VipsEngine:
    """See `protocol.Engine`."""

    name = "vips"

    def __init__(self) -> None:
        # A cached operation could answer one tenant's file with another's of the same name.
        pyvips.cache_set_max(0)
        pyvips.operation_block_set("VipsForeignLoad", state=True)
        for loader in LOADERS.values():
            pyvips.operation_block_set(loader, state=False)

    def inspect(self, path: Path, image_format: str) -> Header:
        """See `protocol.Engine.inspect`."""
        try:
            image = self._open(path, image_format)
        except pyvips.Error as error:
            raise translated(error) from error
        frames = int(image.get("n-pages")) if image.get_typeof("n-pages") else 1
        if image_format == "png":
            frames = png.frames(path)
        orientation = _orientation(image, image_format)
        width, height = turned(orientation, int(image.width), int(image.height))
        cicp = _code_points(path, image_format)
        space = cicp.color_space if cicp else color_space(image)
        return Header(width, height, frames, orientation, bool(image.hasalpha()), _bit_depth(image), space)

    def decode(self, path: Path, image_format: str, width: int, height: int) -> VipsPicture:
        """See `protocol.Engine.decode`."""
        try:
            header = self._open(path, image_format)
            cicp = _code_points(path, image_format)
            if image_format == "jpeg":
                image = _shrunk_jpeg(path, header, width, height)
            elif image_format == "avif" or _needs_all_bits(header, cicp):
                image = self._scaled(path, image_format, width, height)
            else:
                fail_on = _STRICTNESS.get(image_format, "error")
                image = pyvips.Image.thumbnail(str(path), width, height=height, size="force", fail_on=fail_on)
            return VipsPicture(to_srgb(image, cicp).copy_memory())
        except pyvips.Error as error:
            raise translated(error) from error

    def _scaled(self, path: Path, image_format: str, width: int, height: int) -> Any:
        """Scaled as stored; `thumbnail` would leave eight bits, and RGB by a profile that is not the picture's."""
        image = self._open(path, image_format, fail_on=_STRICTNESS.get(image_format, "error"))
        orientation = _orientation(image, image_format)
        image = scaled(image, *turned(orientation, width, height)).copy_memory()
        return image.autorot() if orientation > 1 else image

    def _open(self, path: Path, image_format: str, **options: str) -> Any:
        if image_format not in LOADERS:
            raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The vips engine does not read {image_format}.")
        # Asked which loader a file needs, libvips knows none for an AVIF that moves; the loader itself reads it.
        load = pyvips.Image.heifload if image_format == "avif" else pyvips.Image.new_from_file
        return load(str(path), access="sequential", **options)


def _orientation(image: Any, image_format: str) -> int:
    """As EXIF has it; an AVIF's turn is a property of the picture instead, and was made by the loader."""
    told = image_format != "avif" and image.get_typeof("orientation")
    return int(image.get("orientation")) if told else 1


def _needs_all_bits(image: Any, cicp: Cicp | None) -> bool:
    """Whether its colours have to be converted before they are cut to 8-bit RGB: 8 bits of light are bands in shadows.

    CMYK has no RGB before its profile has made it.
    """
    if image.interpretation == "cmyk" or (cicp and not cicp.is_srgb):
        return True
    profile = profile_of(image)
    return image.format == "ushort" and profile is not None and not is_srgb(profile)


def _code_points(path: Path, image_format: str) -> Cicp | None:
    """What libvips does not tell: an AVIF's colours without a profile, and those that a PNG puts before its own."""
    if image_format == "avif":
        return code_points(path)
    return png.code_points(path) if image_format == "png" else None


def _shrunk_jpeg(path: Path, header: Any, width: int, height: int) -> Any:
    """Decode at the smallest of libjpeg's scales that is large enough, then scale; a fifth cheaper than `thumbnail`."""
    factor = max(header.width, header.height) / max(width, height)
    shrink = next(scale for scale in (8, 4, 2, 1) if factor >= scale or scale == 1)
    image = pyvips.Image.jpegload(str(path), shrink=shrink, access="sequential", autorotate=True, fail_on="truncated")
    return scaled(image, width, height)


def _bit_depth(image: Any) -> int:
    """Bits per channel of the source; some loaders tell, for others the type of the pixels does."""
    for field in ("bits-per-sample", "heif-bitdepth"):
        if image.get_typeof(field):
            return int(image.get(field))
    return {"ushort": 16, "float": 32}.get(str(image.format), 8)


def translated(error: Any) -> MediaError:
    """A libvips error as ours."""
    text = public(str(error))
    lower = text.lower()
    if any(word in lower for word in _UNSUPPORTED):
        return MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The picture is of a kind that is not read: {text}")
    if any(word in lower for word in _TRUNCATED):
        return MediaError(ErrorCode.TRUNCATED, f"The picture ends too early: {text}")
    if "out of memory" in lower or "limit" in lower:
        return MediaError(ErrorCode.LIMIT_EXCEEDED, text)
    return MediaError(ErrorCode.CORRUPT, f"The picture cannot be decoded: {text}")
