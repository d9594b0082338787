"""Colour profiles: what a picture's colours are, and whether they are sRGB already, which saves converting them."""

import contextlib
from typing import Any

import pyvips

from processors.images.icc import description
from processors.images.light import Cicp, shown

# Words in what profiles call themselves. sRGB is none of them: "Display P3 Gamut with sRGB Transfer" and "Linear sRGB"
# are not it.
_NAMES = (("display-p3", "P3"), ("rec2020", "2020"), ("adobe-rgb", "Adobe RGB"))
# Whole names, in small letters. One that is missing here costs a conversion that changes nothing.
_SRGB = frozenset(
    {
        "srgb",
        "srgb iec61966-2.1",
        "srgb iec61966-2-1",
        "srgb iec61966-2-1 black scaled",
        "srgb iec61966-2-1 no black scaling",
        "srgb2014",
        "srgb built-in",
        "gimp built-in srgb",
        "srgb gamut with srgb transfer",
        "artifex software srgb icc profile",
        "c2",  # Facebook's
        "urgb",
    }
)
_COARSE = 4  # of 255


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB, and nothing besides."""
    return description(profile).lower() in _SRGB


def color_space(image: Any) -> str:
    """The colours of a libvips image as stored, in a word: by its profile if it has one."""
    kind = str(image.interpretation)
    if kind == "cmyk":
        return "cmyk"
    if kind in {"b-w", "grey16"}:
        return "gray"
    return profile_name(profile_of(image))


def profile_of(image: Any) -> bytes | None:
    """The ICC profile that a libvips image has with it."""
    return bytes(image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else None


def profile_name(profile: bytes | None) -> str:
    """A word for the colours of an ICC profile; none means sRGB."""
    if profile is None or is_srgb(profile):
        return "srgb"
    told = description(profile)
    return next((word for word, name in _NAMES if name in told), "other")


def to_srgb(image: Any, cicp: Cicp | None = None) -> Any:
    """Convert by the code points if there are any, or by the embedded profile.

    A profile that is broken or of another colour model is ignored, as browsers do. Black becomes black, as the blackest
    ink and paper do in Photoshop.
    """
    if cicp and not cicp.is_srgb:
        return shown(image, cicp)
    cmyk = image.interpretation == "cmyk"
    profile = profile_of(image)
    if cmyk or (profile and not is_srgb(profile)):
        # libvips' own profile of CMYK is for pictures that have none. Without compensation, ink's black is a grey.
        fallback = {"input_profile": "cmyk"} if cmyk else {}
        with contextlib.suppress(pyvips.Error):
            if not cmyk and image.format == "ushort" and not _is_coarse_in_8_bits(image):
                # LittleCMS calculates 8 bits by curves and matrix, and of 16 interpolates a grid: 13 of 255 off, seen.
                image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
            image = image.icc_transform(
                "srgb", embedded=True, depth=8, intent="relative", black_point_compensation=True, **fallback
            ).copy_memory()
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image.cast("uchar")


def _is_coarse_in_8_bits(image: Any) -> bool:
    """Whether its profile makes bands of dark 8-bit greys, as those of light do: there 1 of 255 is 13 in sRGB."""
    colours = image.bands - image.hasalpha()
    dark = (pyvips.Image.black(1, 1, bands=colours) + 1).cast("uchar")
    dark = dark.copy(interpretation="b-w" if colours == 1 else "srgb")
    dark.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile_of(image))
    return float(dark.icc_transform("srgb", embedded=True, depth=8).max()) > _COARSE
