"""The demo's checks of AVIF, of a ladder and of a storyboard: each broken in one place, and the place is named."""

import io
import subprocess
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
from PIL import Image

from cli.client import AssetVariant, StoreRefusedError
from cli.demo.bundles import fetch_others
from cli.demo.checks import check_variant
from cli.demo.verdicts import Checks
from cli.harness.measure import Measured

PHOTO = Measured("jpeg", 512, 384, 0.0, sound=False, bright=0.9)
CLIP = Measured("mp4", 426, 240, 2.0, sound=True, bright=0.9)
_ADDRESS = "http://api/media/token"
_MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=426x240,AUDIO="audio"
240p.m3u8
"""


def announced(profile, content, kind, size, duration_s=None):
    return AssetVariant(
        profile=profile, content_type=kind, width=size[0], height=size[1], size=len(content), sha256="",
        url=f"{_ADDRESS}/{profile}.x", url_expires_at=datetime(2026, 1, 31, tzinfo=UTC), duration_s=duration_s,
    )  # fmt: skip


def encoded(picture, kind):
    made = io.BytesIO()
    picture.save(made, kind)
    return made.getvalue()


def stripes(size):
    return Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 50).convert("RGB")


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """A ladder of one rung and a soundtrack, as ffmpeg writes it, by file names."""
    folder = tmp_path_factory.mktemp("ladder")
    hls = ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"]
    hls += ["-hls_flags", "single_file"]
    for name, source, codec in (
        ("240p", "testsrc2=size=426x240:rate=10:duration=2", ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p"]),
        ("audio", "sine=duration=2", ["-c:a", "aac"]),
    ):
        out = [*hls, "-hls_segment_filename", f"{name}.mp4", f"{name}.m3u8"]
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *codec, *out], cwd=folder, check=True)
    return {"hls.m3u8": _MASTER.encode()} | {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def storyboard():
    """A sprite of two pictures, and the WebVTT that names them."""
    cue = "\n00:00:0{0}.000 --> 00:00:0{1}.000\nstoryboard.jpg#xywh={2},0,192,108\n"
    text = "WEBVTT\n" + cue.format(0, 1, 0) + cue.format(1, 2, 192)
    return {"storyboard.vtt": text.encode(), "storyboard.jpg": encoded(stripes((384, 108)), "JPEG")}


async def failures(profile, kind, size, files, source, duration_s=None):
    checks, content = Checks(), next(iter(files.values()))
    await check_variant(checks, "a", announced(profile, content, kind, size, duration_s), files, source)
    return checks.failures


async def play(files, source=CLIP):
    return await failures("hls", "application/vnd.apple.mpegurl", (426, 240), files, source, 2.0)


async def look(files):
    return await failures("storyboard", "text/vtt", (384, 108), files, CLIP)


async def test_an_avif_is_decoded():
    for picture, blamed in ((stripes((512, 384)), None), (Image.new("RGB", (512, 384)), "not black")):
        content = encoded(picture, "AVIF")
        found = await failures("display_small_avif", "image/avif", (512, 384), {"a.avif": content}, PHOTO)
        assert (found == []) if blamed is None else (blamed in found[0])
    found = await failures("display_small_avif", "image/avif", (512, 384), {"a.avif": content[:200]}, PHOTO)
    assert "decodes" in found[0]


async def test_a_ladder_that_plays_is_good(ladder):
    assert await play(ladder) == []


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        (lambda files: {"hls.m3u8": b"#EXTM3U\n"}, "has 1 rungs, found []"),
        (lambda files: {"240p.m3u8": b"<html>"}, "opens"),
        (lambda files: {"240p.mp4": files["240p.mp4"][:-100]}, "end with their file"),
        (lambda files: {"audio.mp4": files["audio.mp4"] + b"x"}, "the segments of audio.m3u8"),
    ],
)
async def test_a_ladder_that_does_not_play_is_named(ladder, change, blamed):
    found = await play(ladder | change(ladder))
    assert any(blamed in failure for failure in found), found


async def test_a_ladder_of_another_length_size_or_sound_is_named(ladder):
    longer = CLIP._replace(duration_s=9.0, width=852, height=480, sound=False)
    found = "\n".join(await play(ladder, longer))
    for blamed in ("has 3 rungs", "its first rung is 852x480", "lasts 9.00 s", "announced to last", "has no sound"):
        assert blamed in found


async def test_a_storyboard_whose_pictures_are_there_is_good(storyboard):
    assert await look(storyboard) == []


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"storyboard.jpg": encoded(Image.new("RGB", (384, 108)), "JPEG")}, "not black"),
        ({"storyboard.jpg": encoded(stripes((192, 108)), "JPEG")}, "lies in the sprite"),
        ({"storyboard.jpg": b"<html>"}, "opens"),
        ({"storyboard.vtt": b"WEBVTT\n"}, "names pictures"),
    ],
)
async def test_a_storyboard_that_shows_nothing_is_named(storyboard, change, blamed):
    found = await look(storyboard | change)
    assert any(blamed in failure for failure in found), found


async def test_what_is_named_is_fetched_beside_it(ladder, storyboard):
    stored = ladder | storyboard

    async def read(address):
        name = PurePosixPath(urlsplit(address).path).name
        assert address == f"{_ADDRESS}/{name}"
        if name not in stored:
            raise StoreRefusedError(404, name)
        return stored[name]

    async def others(name, kind):
        return await fetch_others(read, announced("x", stored[name], kind, (1, 1)), stored[name])

    assert await others("hls.m3u8", "application/vnd.apple.mpegurl") == {
        name: content for name, content in ladder.items() if name != "hls.m3u8"
    }
    assert set(await others("storyboard.vtt", "text/vtt")) == {"storyboard.jpg"}
    assert await others("storyboard.jpg", "image/jpeg") == {}
    del stored["240p.mp4"]
    with pytest.raises(StoreRefusedError):
        await others("hls.m3u8", "application/vnd.apple.mpegurl")
