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
    return profile_name(bytes(image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else None)


def profile_name(profile: bytes | None) -> str:
    """A word for the colours of an ICC profile; none means sRGB."""
    if profile is None or is_srgb(profile):
        return "srgb"
    told = description(profile)
    return next((word for word, name in _NAMES if name in told), "other")


def to_srgb(image: Any, cicp: Cicp | None = None) -> Any:
    """Convert by the code points if there are any, or by the embedded profile.

    A profile that is broken or of another colour model is ignored, as browsers do.
    """
    if cicp and not cicp.is_srgb:
        return shown(image, cicp)
    profile = bytes(image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else None
    if profile and not is_srgb(profile):
        with contextlib.suppress(pyvips.Error):
            image = image.icc_transform("srgb", embedded=True, depth=8).copy_memory()
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image.cast("uchar")
