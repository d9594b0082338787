"""A clip, uploaded, with its queued primary job."""

import subprocess

import pytest
from support.video_job import Job


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    command = "ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=426x240:duration=2 -f lavfi -i sine=duration=2"
    subprocess.run([*command.split(), "-preset", "ultrafast", "-pix_fmt", "yuv420p", path], check=True)
    return path


@pytest.fixture
async def job(database, bucket, clip, tmp_path):
    return await Job(database.worker, bucket, tmp_path / "temp").make(clip)
