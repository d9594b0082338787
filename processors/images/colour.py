"""Colour profiles: what sRGB is, and whether a picture is in it already, since converting costs more than decoding."""

from functools import cache

import pyvips


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB (the one that libvips carries)."""
    return bytes(pyvips.Operation.call("profile_load", "srgb"))


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB. The description is ASCII (version 2) or UTF-16 (version 4)."""
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile
