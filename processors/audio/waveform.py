"""The waveform: the lowest and the highest sample of each of some hundred stretches, as JSON and as a picture.

The JSON is of the format of BBC's audiowaveform (version 2, 8 bits), which web players read.
"""

import array
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyvips

RATE_HZ = 8000
"""Samples a second of the mono, 16-bit copy that the waveform is taken from: peaks, not spectra, are looked for."""

_COLOUR = (58, 110, 165)


class Waveform(msgspec.Struct, frozen=True):
    """A waveform; `data` alternates the lowest and the highest sample of each pixel, -128 to 127."""

    version: int
    channels: int
    sample_rate: int
    samples_per_pixel: int
    bits: int
    length: int
    data: tuple[int, ...]


def read(pcm: Path, pixels: int) -> Waveform:
    """Measure a file of mono 16-bit samples (this machine's byte order) into at most `pixels` stretches."""
    samples = pcm.stat().st_size // 2
    per_pixel = max(1, -(-samples // pixels))
    data: list[int] = []
    with pcm.open("rb") as file:
        while chunk := file.read(2 * per_pixel):
            block = array.array("h", chunk[: len(chunk) // 2 * 2])
            if block:
                data += (min(block) >> 8, max(block) >> 8)
    return Waveform(2, 1, RATE_HZ, per_pixel, 8, len(data) // 2, tuple(data))


def write_json(waveform: Waveform, path: Path) -> None:
    """As web players read it."""
    path.write_bytes(msgspec.json.encode(waveform))


def draw(waveform: Waveform, path: Path, width: int, height: int) -> None:
    """A PNG of exactly `width` x `height` pixels: the wave on a transparent ground."""
    columns = [_column(waveform.data, x * waveform.length // width, height) for x in range(width)]
    # Columns are rows until the picture is turned: bytes lie side by side that way.
    mask = pyvips.Image.new_from_memory(b"".join(columns), height, width, 1, "uchar").rot270()
    colour = mask.new_from_image(_COLOUR).copy(interpretation="srgb")
    colour.bandjoin(mask).pngsave(str(path), compression=6, keep="none")


def _column(data: Sequence[int], place: int, height: int) -> bytes:
    """One column from bottom to top, opaque between the lowest and the highest sample, at least one pixel of it."""
    low, high = data[2 * place], data[2 * place + 1]
    begin = (low + 128) * (height - 1) // 255
    end = max(begin + 1, (high + 128) * (height - 1) // 255 + 1)
    return bytes(begin) + b"\xff" * (end - begin) + bytes(height - end)
