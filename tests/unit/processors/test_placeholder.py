"""Placeholders: the ThumbHash is the published format's, to the bit; the dominant colour is that of most of a picture."""

import base64

import pytest
import pyvips

from processors.images.picture import VipsPicture
from processors.images.placeholder import dominant_color, placeholder_of, thumbhash

# Made with the format's reference implementation (the Rust one).
REFERENCE = [
    (32, 24, False, "1c380e259a6076777177887688688787c0930cd878"),
    (24, 32, False, "1c380e251a6076727768876887877878c0920cd878"),
    (32, 32, True, "dd4786150e1780769288896988c0a20dd7a786876974077878"),
    (1, 1, False, "000802070000000000000000000000000000000000000000"),
]


def pixels(width, height, *, alpha):
    return b"".join(
        bytes(
            (
                x * 255 // max(1, width - 1),
                y * 200 // max(1, height - 1),
                x * y * 3 % 256,
                (x * 7 + y * 9) % 256 if alpha else 255,
            )
        )
        for y in range(height)
        for x in range(width)
    )


@pytest.mark.parametrize(("width", "height", "alpha", "expected"), REFERENCE)
def test_the_hash_is_that_of_the_reference_implementation(width, height, alpha, expected):
    assert thumbhash(width, height, pixels(width, height, alpha=alpha)).hex() == expected


def test_the_dominant_colour_is_that_of_most_of_the_picture_that_shows():
    red, blue, clear = bytes((250, 10, 10, 255)), bytes((10, 10, 250, 255)), bytes((0, 255, 0, 0))
    assert dominant_color(red * 5 + blue * 3 + clear * 90) == "#fa0a0a"
    assert dominant_color(clear * 9) == "#ffffff"


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000), (640, 480)])
def test_every_shape_has_a_placeholder(size):
    picture = VipsPicture(pyvips.Image.black(*size, bands=3).copy(interpretation="srgb").copy_memory())
    made = placeholder_of(picture)
    assert 5 <= len(base64.b64decode(made.thumbhash)) <= 30
    assert made.dominant_color == "#000000"
