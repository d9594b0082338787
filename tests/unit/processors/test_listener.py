"""What is heard of a running ffmpeg: the share that is done, and a poster as soon as it is there."""

from pathlib import Path

import pytest
from PIL import Image

from processors.contract import Source
from processors.job import Job
from processors.video.graph import Target, target_size
from processors.video.pipeline import Listener
from processors.video.probe import Clip
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

PROFILES = profiles_for(Stage.VIDEO_PRIMARY)
CLIP = Clip("mov", 640, 360, 10.0, 25.0, 0, None, hdr=False, interlaced=False)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def job(tmp_path, heard):
    source = Source("in.mp4", 1, "", "")
    settings = ProcessorSettings()
    made, progressed = (lambda r: heard.append(r.profile)), heard.append
    return Job(Stage.VIDEO_PRIMARY, source, tmp_path, PROFILES, settings, 1, made, progressed)


@pytest.fixture
def listener(job):
    return Listener(job, CLIP, [Target(p, *target_size(CLIP, p), job.output(p)) for p in PROFILES])


@pytest.fixture
def poster(tmp_path):
    path = Path(tmp_path / "poster.jpg")
    Image.new("RGB", (640, 360), (90, 90, 90)).save(path)
    return path


def test_progress_is_a_share_between_none_and_all(listener, heard):
    for value in ("-1", "0", "2500000", "10000000", "10040000", "N/A"):
        listener.hear(f"out_time_us={value}\n")
    listener.hear("fps=25.0\n")
    listener.hear("nonsense\n")
    assert heard == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_a_poster_is_announced_once_while_the_rest_is_made(listener, heard, poster):
    listener.hear("progress=continue\n")
    listener.hear("progress=continue\n")
    assert heard == ["poster"]
    assert [target.profile.name for target in listener.announced] == ["poster"]


def test_a_poster_that_is_being_written_or_black_is_not_announced(listener, heard, poster):
    whole = poster.read_bytes()
    for data in (b"", whole[:20], whole[:-1], b"no picture" + whole[-2:]):
        poster.write_bytes(data)
        listener.hear("progress=continue\n")
    Image.new("RGB", (640, 360)).save(poster)
    listener.hear("progress=continue\n")
    poster.unlink()
    listener.hear("progress=continue\n")
    assert heard == []
    assert listener.announced == []
