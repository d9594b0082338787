"""Screenshots and drawings in WebP: exact where that makes no larger a file, and photos as ever."""

import io

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageDraw, ImageFont

from processors.images.picture import VipsPicture

QUALITY = 80


def picture(image):
    pixels = np.asarray(image)
    height, width, bands = pixels.shape
    made = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar").copy(interpretation="srgb")
    return VipsPicture(made)


def lossy(image):
    saved = io.BytesIO()
    image.save(saved, "WEBP", quality=QUALITY, method=2)
    return saved.getvalue()


def screenshot(mode="RGB"):
    image = Image.new("RGB", (640, 400), (250, 250, 250))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    for row in range(0, 400, 20):
        draw.text(
            (5, row),
            f"{row:03}: the quick brown fox jumps over 13 lazy dogs",
            fill=(200, 0, 0) if row % 40 else (0, 0, 0),
            font=font,
        )
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_screenshot_is_exact_and_smaller(mode):
    image = screenshot(mode)
    made = picture(image).encoded("webp", QUALITY)
    assert len(made) < 0.6 * len(lossy(image))
    with Image.open(io.BytesIO(made)) as shown:
        assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(image.convert("RGB")))


def test_a_photo_is_not_and_neither_is_one_with_a_plain_border():
    noise = np.random.default_rng(1).normal(128, 30, (400, 640, 3)).clip(0, 255).astype(np.uint8)
    soft = Image.fromarray(noise).resize((1280, 800), Image.Resampling.BICUBIC)
    framed = Image.new("RGB", (1280, 800), (255, 255, 255))
    framed.paste(soft.crop((0, 0, 480, 800)), (400, 0))
    for image in (soft, framed):
        made = picture(image).encoded("webp", QUALITY)
        assert b"VP8L" not in made[:32]
        assert len(made) < 1.1 * len(lossy(image))


def test_one_column_is_no_drawing():
    assert picture(Image.new("RGB", (1, 9), (9, 9, 9))).encoded("webp", QUALITY)


def test_what_would_take_much_memory_is_not_tried():
    tall = Image.new("RGB", (1280, 3200), (250, 250, 250))
    assert b"VP8L" not in picture(tall).encoded("webp", QUALITY)[:32]
    assert b"VP8L" in picture(tall.crop((0, 0, 1280, 3000))).encoded("webp", QUALITY)[:32]
