"""Completeness of JPEGs and PNGs: cut anywhere is truncated, anything after the end marker is accepted."""

import io

import numpy as np
import pytest
from PIL import Image

from processors.contract import MediaError
from processors.images.completeness import check_complete
from schemas.errors import ErrorCode


@pytest.fixture(scope="module")
def noise():
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8))


def encoded(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


VARIANTS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "thumbnail inside": {"exif": b"Exif\0\0" + b"\xff\xd8\xff\xda\0\2\xff\xd9" * 3},
    "comment with markers": {"comment": b"\xff\xd9\xff\xda\xff\xd9"},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_whole_file_passes_and_so_does_one_with_bytes_after_its_end(noise, options, tmp_path):
    path = tmp_path / "a.jpg"
    for after in (b"", b"\0" * 10, b"<script>", encoded(noise)):
        path.write_bytes(encoded(noise, **options) + after)
        check_complete(path, "jpeg")


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_file_cut_anywhere_is_truncated(noise, options, tmp_path):
    path = tmp_path / "a.jpg"
    data = encoded(noise, **options)
    for end in [*range(3, len(data) - 1, 97), len(data) - 2, len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(MediaError) as caught:
            check_complete(path, "jpeg")
        assert caught.value.code is ErrorCode.TRUNCATED, end


def test_fill_bytes_before_a_marker_are_allowed(noise, tmp_path):
    path = tmp_path / "a.jpg"
    data = encoded(noise)
    path.write_bytes(data[:2] + b"\xff\xff" + data[2:])
    check_complete(path, "jpeg")


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\0\x04ab\0\0\0\0\0", b"\xff\xd8\xff\xfe\0\2\xff\xd9"]
)
def test_markers_without_a_picture_are_corrupt(data, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        check_complete(path, "jpeg")
    assert caught.value.code is ErrorCode.CORRUPT


def test_a_png_cut_anywhere_is_truncated_and_one_with_bytes_after_its_end_is_whole(noise, tmp_path):
    path = tmp_path / "a.png"
    noise.save(path, "PNG")
    data = path.read_bytes()
    for after in (b"", b"<script>", data):
        path.write_bytes(data + after)
        check_complete(path, "png")
    for end in [*range(8, len(data) - 1, 997), len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(MediaError) as caught:
            check_complete(path, "png")
        assert caught.value.code is ErrorCode.TRUNCATED, end


def test_a_png_whose_chunks_do_not_follow_each_other_is_corrupt(noise, tmp_path):
    path = tmp_path / "a.png"
    noise.save(path, "PNG")
    data = path.read_bytes()
    path.write_bytes(data[:11] + b"\x0f" + data[12:])
    with pytest.raises(MediaError) as caught:
        check_complete(path, "png")
    assert caught.value.code is ErrorCode.CORRUPT


def test_other_formats_are_left_to_their_decoders(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    check_complete(path, "webp")
