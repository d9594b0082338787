"""Recognition by content: every format we take, and everything that only pretends to be one."""

import pytest

from processors.contract import MediaError
from processors.sniff import HEAD_BYTES, sniff, sniff_bytes
from schemas.errors import ErrorClass, ErrorCode


def ftyp(*brands):
    body = brands[0] + bytes(4) + b"".join(brands[1:])
    return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body + bytes(64)


KNOWN = [
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "image", "jpeg"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image", "png"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "image", "webp"),
    (b"GIF87a\1\0\1\0", "image", "gif"),
    (b"GIF89a\1\0\1\0", "image", "gif"),
    (b"II*\0\x08\0\0\0", "image", "tiff"),
    (b"MM\0*\0\0\0\x08", "image", "tiff"),
    (b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", "image", "tiff"),
    (b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10", "image", "tiff"),
    *((b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0" + bytes([size, 0, 0, 0]), "image", "bmp") for size in (12, 40, 52, 56, 108)),
    (ftyp(b"avif", b"mif1", b"miaf"), "image", "avif"),
    (ftyp(b"mif1", b"avif"), "image", "avif"),
    (ftyp(b"heic", b"mif1", b"heic"), "image", "heic"),
    (ftyp(b"mif1", b"heic"), "image", "heic"),
    (ftyp(b"isom", b"iso2", b"avc1", b"mp41"), "video", "mp4"),
    (ftyp(b"mp42", b"isom"), "video", "mp4"),
    (ftyp(b"3gp4", b"isom"), "video", "mp4"),
    (ftyp(b"XYZW", b"isom"), "video", "mp4"),  # an unknown major brand with a known compatible one
    (ftyp(b"qt  "), "video", "mov"),
    (b"\0\0\0\x08wide\0\0\1\0mdat", "video", "mov"),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\x82\x84webm", "video", "webm"),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\x82\x88matroska", "video", "mkv"),
    (b"RIFF\x10\0\0\0AVI LIST", "video", "avi"),
    (ftyp(b"M4A ", b"isom", b"mp42"), "audio", "m4a"),
    (b"RIFF\x10\0\0\0WAVEfmt ", "audio", "wav"),
    (b"fLaC\0\0\0\x22", "audio", "flac"),
    (b"OggS\0\2" + bytes(22) + b"OpusHead\1", "audio", "ogg"),
    (b"OggS\0\2" + bytes(22) + b"\x01vorbis", "audio", "ogg"),
    (b"ID3\x04\0\0", "audio", "mp3"),
    (b"\xff\xfb\x90\x64", "audio", "mp3"),
    (b"\xff\xf1\x50\x80\0\x1f\xfc", "audio", "aac"),
]

REFUSED = [
    (b"", ErrorCode.EMPTY_FILE),
    (b"<!DOCTYPE html><html><body>not a photo</body></html>", ErrorCode.UNSUPPORTED_FORMAT),
    (b"\xef\xbb\xbf  <HTML>", ErrorCode.UNSUPPORTED_FORMAT),
    (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", ErrorCode.UNSUPPORTED_FORMAT),
    (b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>", ErrorCode.UNSUPPORTED_FORMAT),
    (b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 '/etc/passwd'", ErrorCode.UNSUPPORTED_FORMAT),
    (b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n", ErrorCode.UNSUPPORTED_FORMAT),
    (b"ffconcat version 1.0\nfile '/etc/passwd'\n", ErrorCode.UNSUPPORTED_FORMAT),
    (b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", ErrorCode.UNSUPPORTED_FORMAT),
    (b"%PDF-1.7\n", ErrorCode.UNSUPPORTED_FORMAT),
    (b"%!PS-Adobe-3.0", ErrorCode.UNSUPPORTED_FORMAT),
    (b"8BPS\0\1", ErrorCode.UNSUPPORTED_FORMAT),
    (b"OggS\0\2" + bytes(22) + b"\x80theora", ErrorCode.UNSUPPORTED_FORMAT),
    (b"\xff\xfb\xf0\0", ErrorCode.UNKNOWN_FORMAT),  # the sync of a frame, and a bit rate that does not exist
    (b"PK\x03\x04", ErrorCode.UNSUPPORTED_FORMAT),
    (b"\x7fELF", ErrorCode.UNSUPPORTED_FORMAT),
    (b"BM is how this text begins", ErrorCode.UNKNOWN_FORMAT),
    (b"\0" * 64, ErrorCode.UNKNOWN_FORMAT),
    (b"hello", ErrorCode.UNKNOWN_FORMAT),
    (b"\xff\xd8", ErrorCode.UNKNOWN_FORMAT),
]


@pytest.mark.parametrize(("head", "kind", "name"), KNOWN)
def test_a_known_format_is_recognised_by_its_bytes(head, kind, name):
    assert sniff_bytes(head) == (kind, name)


@pytest.mark.parametrize(("head", "code"), REFUSED)
def test_anything_else_is_refused_for_good(head, code):
    with pytest.raises(MediaError) as caught:
        sniff_bytes(head)
    assert caught.value.code is code
    assert caught.value.error_class is ErrorClass.PERMANENT


def test_the_name_says_nothing(tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"<html>" + b"\xff\xd8\xff" * HEAD_BYTES)
    with pytest.raises(MediaError) as caught:
        sniff(path)
    assert caught.value.code is ErrorCode.UNSUPPORTED_FORMAT
    assert "HTML" in caught.value.detail


def tiff(order, *tags, at=8):
    """The beginning of a TIFF whose first directory has these tags, each with a number as its value."""
    entries = b"".join(
        tag.to_bytes(2, order) + (4).to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
        for tag, value in tags
    )
    magic = b"II*\0" if order == "little" else b"MM\0*"
    return magic + at.to_bytes(4, order) + bytes(at - 8) + len(tags).to_bytes(2, order) + entries + bytes(4)


@pytest.mark.parametrize("order", ["little", "big"])
def test_raw_data_of_cameras_are_refused_and_not_shown_as_their_small_preview(order):
    for raw in (
        tiff(order, (254, 1), (256, 160), (257, 120)),  # NEF, ARW
        tiff(order, (254, 0), (256, 160), (50706, 1)),  # DNG
        b"II*\0\x10\0\0\0CR\2\0" + bytes(64),
    ):
        with pytest.raises(MediaError) as caught:
            sniff_bytes(raw)
        assert caught.value.code is ErrorCode.UNSUPPORTED_FORMAT
        assert "raw data" in caught.value.detail
    assert sniff_bytes(tiff(order, (254, 0), (256, 160), at=16)).format == "tiff"
    assert sniff_bytes(tiff(order, (254, 2), (256, 160))).format == "tiff", "a page of several"
    assert sniff_bytes(tiff(order, (254, 0), at=100_000)[:4096]).format == "tiff"
