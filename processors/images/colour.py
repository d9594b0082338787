"""Colour profiles: what a picture's colours are, and whether they are sRGB already, which saves converting them."""

import contextlib
from functools import cache
from typing import Any

import pyvips

from processors.images.light import Cicp, shown

# What profiles call themselves. The description is ASCII (version 2) or UTF-16 (version 4).
_NAMES = (("srgb", "sRGB"), ("display-p3", "P3"), ("rec2020", "2020"), ("adobe-rgb", "Adobe RGB"))


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB (the one that libvips carries)."""
    return bytes(pyvips.Operation.call("profile_load", "srgb"))


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB."""
    return _says(profile, "sRGB")


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
    if profile is None:
        return "srgb"
    return next((word for word, name in _NAMES if _says(profile, name)), "other")


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


def _says(profile: bytes, name: str) -> bool:
    return name.encode() in profile or name.encode("utf-16-be") in profile
