"""Hostile pictures, made here: each with its outcome, and what it may cost the child in CPU seconds and memory."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support.bounds import cpu_s, outcome

from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

pillow_heif.register_heif_opener()
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "HEIF"]


def test_the_kernel_holds_a_child_to_its_cpu_time(warm):
    limits = Path(f"/proc/{warm.pool.pids[-1]}/limits").read_text().splitlines()
    allowed = next(line for line in limits if line.startswith("Max cpu time")).split()[3]
    settings = ProcessorSettings()
    assert settings.image_timeout_s <= int(allowed) <= cpu_s(warm.pool.pids[-1]) + settings.image_timeout_s + 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_never_passes_for_a_whole_one(warm, name, tmp_path):
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, name)
    whole, path = buffer.getvalue(), tmp_path / "photo.jpg"
    path.write_bytes(whole)
    assert outcome(warm, path, tmp_path) is None
    for share in (1, 5, 10, 25, 40, 55, 70, 85, 95):
        path.write_bytes(whole[: max(1, len(whole) * share // 100)])
        assert outcome(warm, path, tmp_path) is not None, share


def jpeg_header(width, height):
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return (
        b"\xff\xd8\xff\xc0"
        + struct.pack(">H", 2 + len(frame))
        + frame
        + b"\xff\xda\0\x08\1\1\0\0\x3f\0"
        + bytes(64)
        + b"\xff\xd9"
    )


def png(width, height, *chunks, depth=8, colour=2):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    made = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in made)


def bmp(width, height, bits=24):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 16, 0, 0, 54) + header + bytes(16)


def tiff(width, height):
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200)]
    tags += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 64)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes(264 - 14 - len(entries))


def gif(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b",\0\0\0\0" + struct.pack("<HH", width, height)


def webp(width, height):
    bits = (width - 1) | (height - 1) << 14
    data = b"/" + struct.pack("<I", bits) + bytes(16)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


ZEROS = zlib.compress(bytes(30_000_000), 9)
LARGE, LIES = {ErrorCode.TOO_MANY_PIXELS}, {ErrorCode.CORRUPT, ErrorCode.TRUNCATED}
MADE = {
    "JPEG of 65,000 x 65,000 pixels": (jpeg_header(65_000, 65_000), LARGE),
    "PNG of 50,000 x 50,000 pixels": (png(50_000, 50_000, (b"IDAT", ZEROS)), LARGE),
    "PNG of 2,147,483,647 x 1 pixels": (png(2**31 - 1, 1), LARGE | LIES),
    "PNG of no pixels": (png(0, 0), LIES),
    "PNG without a picture": (png(64, 64), LIES),
    "PNG whose text unpacks to 30 MB": (png(64, 64, (b"zTXt", b"a\0\0" + ZEROS)), LIES),
    "PNG whose profile unpacks to 30 MB": (png(64, 64, (b"iCCP", b"a\0\0" + ZEROS)), LIES),
    "BMP of 60,000 x 60,000 pixels": (bmp(60_000, 60_000), LARGE | LIES | {ErrorCode.LIMIT_EXCEEDED}),
    "BMP that ends after its header": (bmp(4000, 4000), LIES),
    "BMP of a negative width": (bmp(-5, 5), LIES),
    "TIFF of 60,000 x 60,000 pixels": (tiff(60_000, 60_000), LARGE | LIES),
    "GIF of 65,535 x 65,535 pixels": (gif(65_535, 65_535), LARGE | LIES),
    "WebP of 16,383 x 16,383 pixels": (webp(16_383, 16_383), LARGE | LIES),
    "an MSL script": (
        b"<?xml version='1.0'?><msl><read filename='/etc/passwd'/></msl>",
        {ErrorCode.UNSUPPORTED_FORMAT},
    ),
    "a list of files": (b"#EXTM3U\nfile:///etc/passwd", {ErrorCode.UNSUPPORTED_FORMAT}),
    "a concat script": (b"ffconcat version 1.0\nfile /etc/passwd", {ErrorCode.UNSUPPORTED_FORMAT}),
    "a label": (b"label:@/etc/passwd", {ErrorCode.UNKNOWN_FORMAT}),
}


@pytest.mark.parametrize(("data", "codes"), MADE.values(), ids=MADE)
def test_made_files_fail_with_their_code(warm, data, codes, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert outcome(warm, path, tmp_path) in codes
    assert list(tmp_path.glob("thumbnail*")) == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_hangs_on_a_picture_is_dropped(warm, name, tmp_path):
    """Polyglots: the picture is taken, what follows it is not; or the file is refused. It never comes out again."""
    buffer, path = io.BytesIO(), tmp_path / "photo.jpg"
    Image.new("RGB", (40, 30), "teal").save(buffer, name)
    path.write_bytes(buffer.getvalue() + b"<script>MARK</script>PK\x05\x06" + bytes(18))
    outcome(warm, path, tmp_path)
    for made in (*tmp_path.glob("*.webp"), *tmp_path.glob("display*.jpg")):
        assert b"MARK" not in made.read_bytes()
