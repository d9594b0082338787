"""Animated pictures as animated WebP: how often they play."""

import io

import pytest
from PIL import Image

from processors.images.animation import animated_webp

COLOURS = ((220, 40, 40), (40, 200, 60), (40, 90, 160))


@pytest.mark.parametrize(("told", "plays"), [(0, 0), (1, 1), (3, 3), (1 << 20, 65_535)])
def test_an_apng_plays_as_often_as_it_says(told, plays, tmp_path):
    frames = [Image.new("RGB", (60, 40), colour) for colour in COLOURS]
    frames[0].save(tmp_path / "in", "PNG", save_all=True, append_images=frames[1:], duration=[50, 300, 120], loop=told)
    made = animated_webp(tmp_path / "in", "png", 1, 30, 20, quality=70)
    with Image.open(io.BytesIO(made)) as image:
        assert (image.n_frames, image.info["loop"]) == (3, plays)
