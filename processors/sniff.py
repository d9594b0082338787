"""What a file is, by its first bytes; the name and the client's content type are hostile input and never asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from processors.contract import MediaError
from schemas.errors import ErrorCode
from schemas.states import MediaKind

HEAD_BYTES = 4096

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MP4_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"mp71"}
    | {b"avc1", b"hvc1", b"hev1", b"av01", b"dash", b"cmfc", b"msnv", b"mmp4", b"XAVC", b"MSNV", b"NDSC", b"NDSH"}
    | {b"M4V ", b"M4VH", b"M4VP", b"f4v ", b"F4V "}
    | {b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gr6", b"3gs6", b"3g2a", b"3g2b", b"3g2c", b"3ge6", b"3gg6"}
)
# Bytes of the headers of BMP: of OS/2, of Windows, and the two of Adobe in between.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 108, 124})
_NEW_SUBFILE_TYPE, _REDUCED, _DNG_VERSION = 254, 1, 50706  # tags of TIFF, and a bit of the first one's value
# QuickTime files older than `ftyp` begin with one of these boxes.
_BARE_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


class Sniffed(NamedTuple):
    """A recognised file: its kind and the format's name (`jpeg`, `png`, `mp4`, `mov`, ...)."""

    kind: MediaKind
    format: str


def sniff(path: Path) -> Sniffed:
    """Recognise a file.

    Raises `MediaError`: `empty_file`, `unsupported_format` (recognised, never processed: markup, vector graphics,
    playlists, scripts, documents) or `unknown_format`.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return sniff_bytes(head)


def sniff_bytes(head: bytes) -> Sniffed:
    """The same for the first `HEAD_BYTES` of a file (fewer if the file is shorter)."""
    if not head:
        raise MediaError(ErrorCode.EMPTY_FILE)
    for name, matches in _IMAGES.items():
        if matches(head):
            return Sniffed(MediaKind.IMAGE, name)
    for name, matches in _VIDEOS.items():
        if matches(head):
            return Sniffed(MediaKind.VIDEO, name)
    for name, matches in _AUDIOS.items():
        if matches(head):
            return Sniffed(MediaKind.AUDIO, name)
    refused = _refused(head)
    if refused:
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"The file is {refused}, which is not processed.")
    raise MediaError(ErrorCode.UNKNOWN_FORMAT, "The first bytes are of no image, video or audio format that is known.")


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == form


def _brands(head: bytes) -> list[bytes]:
    """The major brand and the compatible brands of an ISO base media file, in order; none if it is not one."""
    if head[4:8] != b"ftyp":
        return []
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]


def _is_avif(head: bytes) -> bool:
    brands = _brands(head)
    # A `mif1` major brand says only "an image"; the compatible brands tell AVIF from HEIC.
    return bool(brands) and (brands[0] in _AVIF_BRANDS or (brands[0] in _HEIC_BRANDS and b"avif" in brands))


def _is_heic(head: bytes) -> bool:
    brands = _brands(head)
    return bool(brands) and brands[0] in _HEIC_BRANDS and b"avif" not in brands


def _is_mov(head: bytes) -> bool:
    return _brands(head)[:1] == [b"qt  "] or (len(head) >= 16 and head[4:8] in _BARE_QUICKTIME)


def _is_mp4(head: bytes) -> bool:
    return not _is_m4a(head) and any(brand in _MP4_BRANDS for brand in _brands(head))


def _is_m4a(head: bytes) -> bool:
    return _brands(head)[:1] in ([b"M4A "], [b"M4B "])


def _is_ogg(head: bytes) -> bool:
    # Ogg may hold video, too: the first page tells what its first stream is.
    return head.startswith(b"OggS") and any(codec in head[28:64] for codec in (b"OpusHead", b"\x01vorbis", b"\x7fFLAC"))


def _is_mp3(head: bytes) -> bool:
    # A tag, or a frame: sync, MPEG layer III, and a bit rate and a sample rate that exist.
    frame = head[0] == 0xFF and len(head) > 3 and head[1] & 0xE6 == 0xE2
    return head.startswith(b"ID3") or (frame and 0 < head[2] >> 4 < 15 and head[2] & 0x0C != 0x0C)


def _is_adts(head: bytes) -> bool:
    return len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def _ebml(doctype: bytes) -> Callable[[bytes], bool]:
    # The DocType element (id 4282) lies in the EBML header, within its first bytes.
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and doctype in head[:128]


def _is_bmp(head: bytes) -> bool:
    # Two letters are too little: the reserved words are zero and the header is one of those that exist.
    return head[:2] == b"BM" and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


def _is_tiff(head: bytes) -> bool:
    return head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) and not _is_raw(head)


def _is_raw(head: bytes) -> bool:
    """Whether a TIFF is a camera's raw data (CR2, DNG, NEF, ARW), whose first picture is only a small preview."""
    if not head.startswith((b"II*\0", b"MM\0*")):
        return False
    order: Literal["little", "big"] = "little" if head.startswith(b"II") else "big"
    begin = int.from_bytes(head[4:8], order)
    entries = range(begin + 2, begin + 2 + 12 * int.from_bytes(head[begin : begin + 2], order), 12)
    tags = {
        int.from_bytes(head[at : at + 2], order): int.from_bytes(head[at + 8 : at + 12], order)
        for at in entries
        if at + 12 <= len(head)
    }
    return head[8:10] == b"CR" or _DNG_VERSION in tags or bool(tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED)


_IMAGES: dict[str, Callable[[bytes], bool]] = {
    "jpeg": _starts(b"\xff\xd8\xff"),
    "png": _starts(b"\x89PNG\r\n\x1a\n"),
    "webp": _riff(b"WEBP"),
    "gif": _starts(b"GIF87a", b"GIF89a"),
    "avif": _is_avif,
    "heic": _is_heic,
    "tiff": _is_tiff,
    "bmp": _is_bmp,
}
_VIDEOS: dict[str, Callable[[bytes], bool]] = {
    "mov": _is_mov,
    "mp4": _is_mp4,
    "webm": _ebml(b"webm"),
    "mkv": _ebml(b"matroska"),
    "avi": _riff(b"AVI "),
}
_AUDIOS: dict[str, Callable[[bytes], bool]] = {
    "m4a": _is_m4a,
    "wav": _riff(b"WAVE"),
    "flac": _starts(b"fLaC"),
    "ogg": _is_ogg,
    "mp3": _is_mp3,
    "aac": _is_adts,
}

_REFUSED_MAGIC: dict[str, tuple[bytes, ...]] = {
    "a PDF document": (b"%PDF-",),
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "a Photoshop document": (b"8BPS",),
    "an Ogg file of a kind": (b"OggS",),
    "an archive": (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ"),
    "a program": (b"MZ", b"\x7fELF", b"#!"),
    "a concat script": (b"ffconcat version",),
    "an HLS playlist": (b"#EXTM3U",),
    "vector graphics (MVG)": (b"push graphic-context", b"viewbox "),
}
_REFUSED_MARKUP: dict[str, tuple[bytes, ...]] = {
    "vector graphics (SVG)": (b"<svg", b"<!doctype svg"),
    "an ImageMagick script (MSL)": (b"<image", b"<msl"),
    "a DASH manifest": (b"<mpd",),
    "HTML": (b"<!doctype html", b"<html", b"<head", b"<body", b"<script"),
}


def _refused(head: bytes) -> str | None:
    """A name for what is recognised and refused; only the message depends on it, never whether it is refused."""
    if _is_raw(head):
        return "a camera's raw data"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for name, magics in _REFUSED_MAGIC.items():
        if text.startswith(magics):
            return name
    if text.startswith(b"<"):
        lower = text.lower()
        return next((name for name, tags in _REFUSED_MARKUP.items() if any(tag in lower for tag in tags)), "markup")
    return None
