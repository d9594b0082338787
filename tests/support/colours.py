"""Colours for pictures that tests make."""

import pyvips


def srgb_profile():
    """An ICC profile of sRGB (the one that libvips carries)."""
    return bytes(pyvips.Operation.call("profile_load", "srgb"))
