"""The boxes of an MP4 or MOV: is a source complete, and what did we write? A few reads instead of another ffprobe."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from processors.contract import MediaError
from schemas.errors import ErrorCode

_MAX_MOOV = 64 * 1024 * 1024


class Box(NamedTuple):
    """A box: type, where its content starts, and where it ends (which may be past the file's end)."""

    kind: bytes
    start: int
    end: int


class Movie(NamedTuple):
    """What a movie's header says: size in pixels of its video track and duration in seconds."""

    width: int
    height: int
    duration_s: float


def check_complete(path: Path) -> None:
    """Raise `MediaError` `truncated` if the last box ends after the file does, or if there is no `moov`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        kinds = set()
        for box in boxes(file, 0, size):
            if box.end > size:
                raise MediaError(ErrorCode.TRUNCATED, f"The file ends {box.end - size} bytes before its content does.")
            kinds.add(box.kind)
    if b"moov" not in kinds:
        raise MediaError(ErrorCode.TRUNCATED, "The file has no index (moov); its end is missing.")


def read_movie(path: Path) -> Movie:
    """Read the header of a finished file. Raises `ValueError` if it holds no video track."""
    size = path.stat().st_size
    with path.open("rb") as file:
        moov = _only(boxes(file, 0, size), b"moov")
        if moov.end - moov.start > _MAX_MOOV:
            raise ValueError("the header is absurdly large")
        inside = list(boxes(file, moov.start, moov.end))
        mvhd = _content(file, _only(inside, b"mvhd"))
        at, width = (20, 8) if mvhd[0] == 1 else (12, 4)
        scale = int.from_bytes(mvhd[at : at + 4], "big")
        duration = int.from_bytes(mvhd[at + 4 : at + 4 + width], "big")
        for trak in (box for box in inside if box.kind == b"trak"):
            tkhd = _content(file, _only(boxes(file, trak.start, trak.end), b"tkhd"))
            # The last eight bytes are the shown size, 16.16 fixed point; sound has none.
            shown = int.from_bytes(tkhd[-8:-4], "big") >> 16, int.from_bytes(tkhd[-4:], "big") >> 16
            if all(shown) and duration:
                return Movie(*shown, duration / scale)
    raise ValueError("there is no video track with a frame in it")


def sound_alone(path: Path) -> bool:
    """Whether all that a file's header announces is sound: its brand need not say so."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            moov = _only(boxes(file, 0, size), b"moov")
            traks = [box for box in boxes(file, moov.start, min(moov.end, size)) if box.kind == b"trak"]
            mdias = [_only(boxes(file, trak.start, trak.end), b"mdia") for trak in traks]
            hdlrs = [_only(boxes(file, mdia.start, mdia.end), b"hdlr") for mdia in mdias]
        except ValueError:
            return False
        kinds = set()
        for hdlr in hdlrs:
            file.seek(hdlr.start + 8)
            kinds.add(file.read(4))
    return b"soun" in kinds and b"vide" not in kinds


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets; stops at bytes that are no box (padding after the last one is common)."""
    at = start
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind):
            return
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:  # up to the end
            size = end - at
        if size < header:
            return
        yield Box(kind, at + header, at + size)
        at += size


def _only(found: Iterator[Box] | list[Box], kind: bytes) -> Box:
    box = next((box for box in found if box.kind == kind), None)
    if box is None:
        raise ValueError(f"there is no {kind.decode()} box")
    return box


def _content(file: BinaryIO, box: Box) -> bytes:
    file.seek(box.start)
    return file.read(box.end - box.start)
