"""What a PNG says before its pixels and libvips does not tell: its frames, their plays, its colours' code points."""

from collections.abc import Iterator
from pathlib import Path

from processors.images.light import Cicp

_SIGNATURE_BYTES = 8
_MOST_BYTES = 16  # of a chunk; those that are looked for are shorter


def frames(path: Path) -> int:
    """Frames of an APNG (`acTL`), at least 1."""
    data = next((data for kind, data in _chunks(path) if kind == b"acTL"), b"")
    told = int.from_bytes(data[:4], "big")
    return told if 0 < told < 2**31 else 1  # other numbers mean nothing, and make it a still picture


def plays(path: Path) -> int:
    """How often an APNG is played; 0: for ever."""
    data = next((data for kind, data in _chunks(path) if kind == b"acTL"), b"")
    return int.from_bytes(data[4:8], "big")


def code_points(path: Path) -> Cicp | None:
    """The code points of a `cICP` chunk; None if there is none."""
    data = next((data for kind, data in _chunks(path) if kind == b"cICP"), b"")
    return Cicp(data[0], data[1]) if len(data) >= 2 else None


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Kind and first bytes of the chunks before the first of pixels."""
    with path.open("rb") as file:
        file.seek(_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8 and head[4:] not in {b"IDAT", b"IEND"}:
            size = int.from_bytes(head[:4], "big")
            data = file.read(min(size, _MOST_BYTES))
            yield head[4:], data
            file.seek(size - len(data) + 4, 1)
