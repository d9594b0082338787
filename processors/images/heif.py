"""The engine for HEIC: libheif and libde265 of a wheel, as Debian's ImageMagick loses colours and turns of phones.

The wheel's extension is called without the package around it, which reads EXIF, XMP and the like at once: a file of
which a child could crash in that is among the tests.
"""

from pathlib import Path
from typing import Any

import _pi_heif
import pyvips

from processors.contract import MediaError
from processors.images.colour import profile_name, to_srgb
from processors.images.light import Cicp
from processors.images.picture import VipsPicture, scaled
from processors.images.protocol import Header, public
from schemas.errors import ErrorCode

_FORMAT, _DEEP = "heic", ";16"
_BANDS = {"L": 1, "I": 1, "LA": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
_CUT = ("end of file", "unexpected end", "extends beyond", "truncated")
_FAULTS = (ValueError, RuntimeError, EOFError, SyntaxError)
_LIMITS = ("limit", "out of memory", "memory allocation")


class HeifEngine:
    """See `protocol.Engine`."""

    name = "heif"

    def inspect(self, path: Path, image_format: str) -> Header:
        """See `protocol.Engine.inspect`."""
        found = _opened(path, image_format)
        (width, height), mode = found.size_mode  # as turned and mirrored by the file's own properties
        alpha = mode.removesuffix(_DEEP)[-1] in "Aa"
        return Header(width, height, 1, 1, alpha, int(found.bit_depth), _color_space(found))

    def decode(self, path: Path, image_format: str, width: int, height: int) -> VipsPicture:
        """See `protocol.Engine.decode`."""
        found = _opened(path, image_format)
        try:
            pixels = _pixels(found)
        except _FAULTS as error:
            raise _translated(error) from error
        cicp = None if _profile(found) else cicp_of(found)
        return VipsPicture(to_srgb(scaled(pixels, width, height), cicp).copy_memory())


def code_points(path: Path) -> Cicp | None:
    """The code points of an AVIF's or a HEIC's colours, if it has no profile."""
    try:
        found = _opened(path, _FORMAT)
    except MediaError:
        return None  # the engine that decodes it has its own word
    return None if _profile(found) else cicp_of(found)


def cicp_of(found: Any) -> Cicp | None:
    """What a file's `nclx` says."""
    told = _told(found)
    if not told or told["type"] != "nclx":
        return None
    return Cicp(told["data"]["color_primaries"], told["data"]["transfer_characteristics"])


def _opened(path: Path, image_format: str) -> Any:
    """The primary picture, its pixels not decoded yet."""
    if image_format != _FORMAT:
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The heif engine does not read {image_format}.")
    try:
        # One thread, all bits, red first, no gaps between rows, 16 bits filled, any decoder, libheif's own limits.
        found = _pi_heif.load_file(path.read_bytes(), 1, False, False, True, True, "", False)  # noqa: FBT003
    except _FAULTS as error:
        raise _translated(error) from error
    pictures = [picture for picture in found if picture is not None]
    primary = next((picture for picture in pictures if picture.primary), None)
    if primary is None or not all(primary.size_mode[0]):
        raise MediaError(ErrorCode.CORRUPT, "The file has no picture in it.")
    return primary


def _pixels(found: Any) -> Any:
    """Decoded: 8 or 16 bits, with the profile."""
    data = found.data
    (width, height), mode = found.size_mode
    deep, bands = mode.endswith(_DEEP), _BANDS[mode.removesuffix(_DEEP)]
    kind = ("grey16" if bands < 3 else "rgb16") if deep else ("b-w" if bands < 3 else "srgb")
    image = pyvips.Image.new_from_memory(data, width, height, bands, "ushort" if deep else "uchar")
    image = image.copy(interpretation=kind)
    if mode.startswith("RGBa"):
        image = image.unpremultiply().cast(image.format)
    if profile := _profile(found):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def _profile(found: Any) -> bytes | None:
    told = _told(found)
    return told["data"] or None if told and told["type"] != "nclx" else None


def _told(found: Any) -> dict[str, Any] | None:
    """The profile or the code points; numbers that mean nothing are none."""
    try:
        told: dict[str, Any] | None = found.color_profile
    except _FAULTS:
        return None
    return told


def _color_space(found: Any) -> str:
    profile, cicp = _profile(found), cicp_of(found)
    return cicp.color_space if cicp and not profile else profile_name(profile)


def _translated(error: Exception) -> MediaError:
    text = public(str(error))
    lower = text.lower()
    if any(word in lower for word in _LIMITS):
        return MediaError(ErrorCode.LIMIT_EXCEEDED, text)
    if any(word in lower for word in _CUT):
        return MediaError(ErrorCode.TRUNCATED, f"The picture ends too early: {text}")
    return MediaError(ErrorCode.CORRUPT, f"The picture cannot be decoded: {text}")
