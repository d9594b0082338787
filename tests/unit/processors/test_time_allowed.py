"""How long a job of a video may take goes by the length of the video."""

import subprocess

import pytest
from msgspec import structs

from processors import video
from processors.contract import Source
from processors.ffmpeg import helper
from processors.job import Job, longest_s
from processors.video.probe import Clip
from schemas.profiles import profiles_for
from schemas.settings import KeeperSettings, ProcessorSettings
from schemas.states import Stage

SETTINGS = ProcessorSettings(video_timeout_s=60.0, video_timeout_ratio=100.0, max_video_seconds=300.0)


def test_a_long_film_may_take_longer_and_none_longer_than_a_day():
    told = {0.0: 60.0, 0.1: 60.0, 2.0: 200.0, 300.0: 30_000.0, 10**9: 72_000.0, float("inf"): 72_000.0}
    assert {seconds: longest_s(SETTINGS, seconds) for seconds in told} == told
    assert longest_s(SETTINGS, float("nan")) == 60.0


@pytest.mark.parametrize(
    ("width", "height", "fps", "factor"),
    [
        (1920, 1080, 30.0, 1), (640, 480, 15.0, 1), (1080, 1920, 60.0, 2), (3840, 2160, 60.0, 8), (3840, 2160, 0.0, 1)
    ],
)  # fmt: skip
def test_a_film_of_more_pixels_a_second_counts_as_a_longer_one(width, height, fps, factor):
    clip = Clip("mov", width, height, 60.0, fps, 0, None, hdr=False, interlaced=False)
    assert clip.work_s == 60.0 * factor
    assert structs.replace(clip, duration_s=None).work_s == 0.0


def test_the_longest_film_ends_before_its_objects_count_as_nobodys():
    ours = ProcessorSettings(video_timeout_ratio=50.0)
    assert ours.max_video_work_s < longest_s(ours, ours.max_video_work_s) < KeeperSettings().orphan_age_s


@pytest.mark.parametrize("stage", [Stage.VIDEO_PRIMARY, Stage.VIDEO_LADDER])
def test_every_run_is_given_its_films_time_and_the_worker_is_told(stage, monkeypatch, tmp_path):
    path, given, told = tmp_path / "a.mp4", {}, []
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=2"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *source, "-pix_fmt", "yuv420p", path], check=True)
    run = helper.run

    def noted(argv, **bounds):
        given[argv[0], "-progress" in argv, "-skip_frame" in argv] = bounds["wall_s"]
        return run(argv, **bounds)

    monkeypatch.setattr(helper, "run", noted)
    what = Source(str(path), path.stat().st_size, "video/mp4", "a.mp4")
    profiles = profiles_for(stage)
    job = Job(stage, what, tmp_path, profiles, SETTINGS, 1, lambda _: None, lambda _: None, told.append)
    video.process(job, path, "mp4")
    assert told == [2.0]
    del given["ffprobe", False, False]
    expected = {("ffmpeg", True, False)} | ({("ffmpeg", False, True)} if stage is Stage.VIDEO_LADDER else set())
    assert given == dict.fromkeys(expected, 200.0)
