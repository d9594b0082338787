"""Is a JPEG or PNG complete? Decoders fill a cut photo with grey and say nothing, or blame what is not the cause.

So the end is looked for before anything is decoded. Bytes after it (previews, polyglots) are accepted and dropped.
"""

import mmap
import re
from pathlib import Path

from processors.contract import MediaError
from schemas.errors import ErrorCode

# In entropy-coded data, FF is followed by 00 (stuffing) or D0-D7 (restart); anything else is the next marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EOI, _SOS = 0xD9, 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_PNG_SIGNATURE_BYTES = 8


def check_complete(path: Path, image_format: str) -> None:
    """Look for the end of a picture in the formats for which that is worth it; others are their decoder's business.

    Raises `MediaError`: `truncated`, or `corrupt` where the structure is broken before the end.
    """
    check = {"jpeg": _check_jpeg, "png": _check_png}.get(image_format)
    if check:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check(data)


def _check_png(data: mmap.mmap) -> None:
    at = _PNG_SIGNATURE_BYTES
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        if not kind.isalpha():
            raise MediaError(ErrorCode.CORRUPT, "The PNG has bytes between its chunks.")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND" and at <= len(data):
            return
    raise MediaError(ErrorCode.TRUNCATED, "The PNG ends before its end chunk.")


def _check_jpeg(data: mmap.mmap) -> None:
    """Walk the segments and scans up to the end marker."""
    at, scans = 2, 0
    while True:
        if at + 2 > len(data):
            raise MediaError(ErrorCode.TRUNCATED, "The JPEG ends before its end marker.")
        if data[at] != 0xFF:
            raise MediaError(ErrorCode.CORRUPT, "The JPEG has bytes between its segments.")
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes are allowed before a marker
            at += 1
            continue
        if marker == _EOI:
            break
        at += 2
        if marker not in _STANDALONE:
            at += int.from_bytes(data[at : at + 2], "big")
        if marker == _SOS:
            scans += 1
            found = _NEXT_MARKER.search(data, at)
            at = found.start() if found else len(data)
    if not scans:
        raise MediaError(ErrorCode.CORRUPT, "The JPEG has no picture in it.")
