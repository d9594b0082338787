"""Valid files with random damage: each is processed or refused for good, in time, and no child dies of it.

`make mutations` runs this with more and other damage: MUTATIONS multiplies the rounds, SEED changes the damage.
"""

import os
import random

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from processors.contract import MediaError
from schemas.errors import ErrorClass
from schemas.states import Stage

pillow_heif.register_heif_opener()
PICTURES = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "HEIF"]
MORE, SEED = int(os.environ.get("MUTATIONS", "1")), os.environ.get("SEED", "0")
BORDERS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"]


def damaged(data, rng):
    """One of: some bytes changed, some bits flipped, bytes put in, bytes taken out, a border value near the start."""
    data, how = bytearray(data), rng.randrange(5)
    at = rng.randrange(len(data))
    if how == 0:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif how == 1:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 2:
        data[at:at] = rng.randbytes(rng.randint(1, 64))
    elif how == 3:
        del data[at : at + rng.randint(1, 64)]
    else:
        at = rng.randrange(min(len(data) - 4, 200))
        data[at : at + 4] = rng.choice(BORDERS)
    return bytes(data)


def survive(bench, original, rounds, stage, tmp_path):
    """Process damaged copies; returns how many were processed and how many refused."""
    rng, outcomes = random.Random(SEED.encode() + original), [0, 0]
    path = tmp_path / "damaged.bin"
    for number in range(rounds * MORE):
        path.write_bytes(damaged(original, rng))
        try:
            bench.run(path, tmp_path, stage)
            outcomes[0] += 1
        except MediaError as error:
            assert error.error_class is ErrorClass.PERMANENT, (number, error)
            outcomes[1] += 1
    return outcomes


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_pictures(bench, name, tmp_path):
    noise = np.random.default_rng(7).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 72)).save(tmp_path / "whole", name)
    bench.run(tmp_path / "whole", tmp_path)
    children = bench.pool.pids
    processed, refused = survive(bench, (tmp_path / "whole").read_bytes(), 25, Stage.IMAGE_PRIMARY, tmp_path)
    assert processed + refused == 25 * MORE
    assert refused
    assert bench.pool.pids == children


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_damaged_videos(bench, make_video, name, tmp_path):
    whole = make_video(name=name, size="64x48", seconds=0.4)
    bench.run(whole, tmp_path, Stage.VIDEO_PRIMARY)
    children = bench.pool.pids
    assert sum(survive(bench, whole.read_bytes(), 5, Stage.VIDEO_PRIMARY, tmp_path)) == 5 * MORE
    assert bench.pool.pids == children
