"""The fast engine: libvips, for the formats that its wheel reads. It shrinks while decoding, and its WebP is clean."""

from pathlib import Path
from typing import Any

import pyvips

from processors.contract import MediaError
from processors.images.colour import is_srgb
from processors.images.protocol import Header, public
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
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
# Effort 2 of 6 encodes a photo in half the time of the default 4, for 1 to 4 % more bytes.
_WEBP_EFFORT = 2
# How bad a fault must be to fail the picture; in GIFs, missing frame data counts only as a warning.
_STRICTNESS = {"gif": "warning"}
_TRUNCATED = (
    "premature end",
    "truncated",
    "end of stream",
    "end of file",
    "unexpected end",
    "not enough",
)


class VipsPicture:
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

    def resized(self, width: int, height: int) -> "VipsPicture":
        """See `protocol.Picture.resized`."""
        shrunk = self._image.thumbnail_image(width, height=height, size="force", no_rotate=True)
        return VipsPicture(shrunk.copy_memory())

    def cropped(self, width: int, height: int) -> "VipsPicture":
        """See `protocol.Picture.cropped`: the part that draws the eye."""
        return VipsPicture(self._image.smartcrop(width, height, interesting="attention").copy_memory())

    def save(self, path: Path, image_format: str, quality: int) -> None:
        """See `protocol.Picture.save`."""
        if image_format == "webp":
            data = self._image.webpsave_buffer(Q=quality, effort=_WEBP_EFFORT, keep="none")
        elif image_format == "jpeg":
            flat = self._image.flatten(background=255) if self._image.hasalpha() else self._image
            data = flat.jpegsave_buffer(Q=quality, optimize_coding=True, keep="none")
        else:
            raise ValueError(f"cannot write {image_format}")
        path.write_bytes(data)


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
            raise _translated(error) from error
        width, height = int(image.width), int(image.height)
        frames = int(image.get("n-pages")) if image.get_typeof("n-pages") else 1
        if image_format != "avif" and image.get_typeof("orientation") and image.get("orientation") in _SIDEWAYS:
            width, height = height, width
        return Header(width, height, frames)

    def decode(self, path: Path, image_format: str, width: int, height: int) -> VipsPicture:
        """See `protocol.Engine.decode`."""
        try:
            header = self._open(path, image_format)
            profile = bytes(header.get("icc-profile-data")) if header.get_typeof("icc-profile-data") else None
            cmyk = header.interpretation == "cmyk"
            if image_format == "jpeg" and not cmyk:
                image = _shrunk_jpeg(path, header, width, height)
            else:
                # CMYK has to pass through its profile (or a stock one) before it can be scaled as RGB.
                convert = {"export_profile": "srgb"} if cmyk else {}
                image = pyvips.Image.thumbnail(
                    str(path),
                    width,
                    height=height,
                    size="force",
                    fail_on=_STRICTNESS.get(image_format, "error"),
                    **convert,
                )
            if profile and not cmyk and not is_srgb(profile):
                image = _through(image)
            if image.interpretation != "srgb":
                image = image.colourspace("srgb")
            return VipsPicture(image.cast("uchar").copy_memory())
        except pyvips.Error as error:
            raise _translated(error) from error

    def _open(self, path: Path, image_format: str) -> Any:
        if image_format not in LOADERS:
            raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The vips engine does not read {image_format}.")
        return pyvips.Image.new_from_file(str(path), access="sequential")


def _shrunk_jpeg(path: Path, header: Any, width: int, height: int) -> Any:
    """Decode at the smallest of libjpeg's scales that is large enough, then scale; a fifth cheaper than `thumbnail`."""
    factor = max(header.width, header.height) / max(width, height)
    shrink = next(scale for scale in (8, 4, 2, 1) if factor >= scale or scale == 1)
    image = pyvips.Image.jpegload(str(path), shrink=shrink, access="sequential", autorotate=True, fail_on="truncated")
    return image.resize(width / image.width, vscale=height / image.height)


def _through(image: Any) -> Any:
    """Convert by the embedded profile; one that is broken or of another colour model is ignored, as browsers do."""
    try:
        return image.icc_transform("srgb", embedded=True, depth=8).copy_memory()
    except pyvips.Error:
        return image


def _translated(error: Any) -> MediaError:
    text = public(str(error))
    lower = text.lower()
    if any(word in lower for word in _TRUNCATED):
        return MediaError(ErrorCode.TRUNCATED, f"The picture ends too early: {text}")
    if "out of memory" in lower or "limit" in lower:
        return MediaError(ErrorCode.LIMIT_EXCEEDED, text)
    return MediaError(ErrorCode.CORRUPT, f"The picture cannot be decoded: {text}")
