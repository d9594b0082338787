"""What shows before a picture has loaded: its ThumbHash and its dominant colour, from a few hundred pixels of it.

ThumbHash is a published format (evanw.github.io/thumbhash): the lowest frequencies of brightness, two colour
differences and alpha, in some 25 bytes. The packages that offer it have seen one or two releases and few users, and it
is short; the tests hold this one against values of the original.
"""

import base64
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from processors.images.protocol import Picture

# Enough for frequencies of up to seven half waves; the format allows 100.
_SIDE = 32
_SHADES = 5  # bits that are dropped of each channel when colours are counted


class Placeholder(NamedTuple):
    """A ThumbHash as base64, and a colour as `#rrggbb`."""

    thumbhash: str
    dominant_color: str


def placeholder_of(picture: Picture) -> Placeholder:
    """The placeholder of a picture; it is scaled down first."""
    factor = min(1.0, _SIDE / max(picture.width, picture.height))
    width, height = (max(1, round(side * factor)) for side in (picture.width, picture.height))
    small = picture if (picture.width, picture.height) == (width, height) else picture.resized(width, height)
    pixels = small.rgba()
    return Placeholder(base64.b64encode(thumbhash(width, height, pixels)).decode(), dominant_color(pixels))


def dominant_color(rgba: bytes) -> str:
    """The mean of the commonest shade among what is not transparent; white if all of it is."""
    shades: Counter[tuple[int, int, int]] = Counter()
    sums: dict[tuple[int, int, int], list[int]] = {}
    for at in range(0, len(rgba), 4):
        red, green, blue, alpha = rgba[at : at + 4]
        if alpha >= 128:
            shade = (red >> _SHADES, green >> _SHADES, blue >> _SHADES)
            shades[shade] += 1
            total = sums.setdefault(shade, [0, 0, 0])
            total[0], total[1], total[2] = total[0] + red, total[1] + green, total[2] + blue
    if not shades:
        return "#ffffff"
    shade, count = shades.most_common(1)[0]
    return "#" + "".join(f"{round(total / count):02x}" for total in sums[shade])


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """The ThumbHash of at most 100 x 100 pixels, four bytes each."""
    lightness, yellow_blue, red_green, alphas, transparent = _channels(rgba)
    limit = 5 if transparent else 7
    across = max(1, _round(limit * width / max(width, height)))
    down = max(1, _round(limit * height / max(width, height)))
    size = (width, height)
    light = _encoded(lightness, size, max(3, across), max(3, down))
    blue, green = (_encoded(channel, size, 3, 3) for channel in (yellow_blue, red_green))
    landscape = width > height
    first = _round(63 * light.dc) | _round(31.5 + 31.5 * blue.dc) << 6 | _round(31.5 + 31.5 * green.dc) << 12
    first |= _round(31 * light.scale) << 18 | int(transparent) << 23
    second = (down if landscape else across) | _round(63 * blue.scale) << 3 | _round(63 * green.scale) << 9
    second |= int(landscape) << 15
    made = bytearray([first & 255, first >> 8 & 255, first >> 16, second & 255, second >> 8])
    waves = [*light.ac, *blue.ac, *green.ac]
    if transparent:
        alpha = _encoded(alphas, size, 5, 5)
        made.append(_round(15 * alpha.dc) | _round(15 * alpha.scale) << 4)
        waves += alpha.ac
    nibbles = [_round(15 * wave) for wave in waves]
    nibbles += [0] * (len(nibbles) % 2)
    made += bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return bytes(made)


class _Waves(NamedTuple):
    """A channel's mean, its other frequencies (each 0 to 1), and their scale."""

    dc: float
    ac: list[float]
    scale: float


def _channels(rgba: bytes) -> tuple[list[float], list[float], list[float], list[float], bool]:
    """Brightness, yellow against blue, red against green, alpha; transparent parts take the mean colour."""
    alphas = [value / 255 for value in rgba[3::4]]
    total = sum(alphas)
    mean = [sum(c * a for c, a in zip(rgba[i::4], alphas, strict=True)) / 255 / (total or 1) for i in range(3)]
    red, green, blue = (
        [m * (1 - a) + a * c / 255 for c, a in zip(rgba[i::4], alphas, strict=True)] for i, m in enumerate(mean)
    )
    triples = list(zip(red, green, blue, strict=True))
    return (
        [(r + g + b) / 3 for r, g, b in triples],
        [(r + g) / 2 - b for r, g, b in triples],
        [r - g for r, g, _ in triples],
        alphas,
        total < len(alphas),
    )


def _encoded(channel: Sequence[float], size: tuple[int, int], across: int, down: int) -> _Waves:
    """The channel's cosine transform, as far as the triangle of frequencies that the format keeps."""
    width, height = size
    waves_x, waves_y = _cosines(width, across), _cosines(height, down)
    rows = [channel[y * width : (y + 1) * width] for y in range(height)]
    # Separable: first along the rows, then down the columns of what is left.
    columns = [[sum(v * w for v, w in zip(row, wave, strict=True)) for row in rows] for wave in waves_x]
    found = [
        sum(v * w for v, w in zip(columns[cx], waves_y[cy], strict=True)) / (width * height)
        for cy in range(down)
        for cx in range(across)
        if cx * down < across * (down - cy)
    ]
    scale = max((abs(wave) for wave in found[1:]), default=0.0)
    return _Waves(found[0], [0.5 + 0.5 / scale * wave if scale else wave for wave in found[1:]], scale)


def _cosines(length: int, count: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * n * (at + 0.5)) for at in range(length)] for n in range(count)]


def _round(value: float) -> int:
    """As the original rounds: halves up."""
    return math.floor(value + 0.5)
