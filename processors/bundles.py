"""Variants of several files: which files these may be, and as what each is stored; for who makes and for who takes."""

import re

_PLAYLIST = "application/vnd.apple.mpegurl"
_FILES: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    "hls": (
        (re.compile(r"([0-9]{1,5}p|audio)\.m3u8"), _PLAYLIST),
        (re.compile(r"audio\.mp4"), "audio/mp4"),
        (re.compile(r"[0-9]{1,5}p\.mp4"), "video/mp4"),
    ),
    "storyboard": ((re.compile(r"storyboard\.jpg"), "image/jpeg"),),
}


def part_type(variant_format: str, name: str) -> str | None:
    """The content type of a file that a variant's own one names; None if one of this format has no such file."""
    return next((kind for pattern, kind in _FILES.get(variant_format, ()) if pattern.fullmatch(name)), None)
