"""Every profile of ours can be made by itself: tenants may choose one, and uploads name one."""

import subprocess

import pytest
from PIL import Image

from schemas.profiles import CATALOGUE
from schemas.states import MediaKind


@pytest.fixture(scope="module")
def sources(make_video, tmp_path_factory):
    """A file of each kind; the picture moves, for the profile that is made of such ones alone."""
    folder = tmp_path_factory.mktemp("sources")
    frames = [Image.new("RGB", (64, 48), (shade, 90, 30)) for shade in (0, 200)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    tone = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run([*tone, folder / "a.wav"], check=True)
    return {
        MediaKind.IMAGE: folder / "a.gif",
        MediaKind.VIDEO: make_video(sound=True),
        MediaKind.AUDIO: folder / "a.wav",
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_is_made_and_nothing_else(bench, sources, name, tmp_path):
    profile = CATALOGUE[name]
    made, report = bench.run(sources[profile.stage.kind], tmp_path, profile.stage, profiles=(profile,))
    assert list(made) == [name]
    assert report.kind == profile.stage.kind
