"""kill -9 in a video job, at its worst moments: one object, one row, no process and no file is left.

The job runs in a process of its own on a real database and a real store; a second one takes over, as the keeper has it.
"""

import os
import signal
from pathlib import Path

import pytest
from support.processes import until

from connectors.objectstore.s3 import S3ObjectStore

PATIENCE_S = 120


def processes_about(folder):
    """The ids of living processes whose command line or working folder names a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes() + b" " + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(folder) in said and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


async def ended_once(job, stage, profiles, former=""):
    """One row and one event of each variant, the objects that rows name and no others, no process, no file.

    But those in a folder called `former` may be there: an attempt that died had made other bytes (see `Outputs`), which
    the sweep of orphans removes by their age.
    """
    made = job.rows("SELECT profile FROM variants WHERE asset_id = %s ORDER BY profile", job.asset_id)
    assert [profile for (profile,) in made] == sorted(profiles)
    told = job.rows("SELECT subject FROM asset_events WHERE asset_id = %s AND type = 'variant.ready'", job.asset_id)
    assert sorted(subject for (subject,) in told) == sorted(profiles)
    named = await job.named()
    assert len(named) == len(set(named))
    left = job.objects() - set(named)
    assert set(named) <= job.objects()
    assert all(former and f"/{former}" in key for key in left), left
    assert job.state(stage) == ("done", 1, 0)
    until(lambda: not processes_about(job.folder), "no process of a worker's is left", PATIENCE_S)
    assert [path for path in job.folder.rglob("*") if path.is_file()] == []


TRIO = ["poster", "preview", "video_720p"]


@pytest.mark.parametrize("last", ["poster.v3.jpg", "preview.v2.mp4"])
async def test_between_the_upload_of_a_variant_and_its_row(job, last):
    died = job.start("video.primary", die_after=last)
    assert died.wait(PATIENCE_S) == -signal.SIGKILL
    assert any(key.endswith(last) for key in job.objects())
    assert last.split(".")[0] not in str(job.rows("SELECT profile FROM variants WHERE asset_id = %s", job.asset_id))
    until(lambda: not processes_about(job.folder), "its children end with it", PATIENCE_S)
    await job.requeue()
    assert job.start("video.primary").wait(PATIENCE_S) == 0
    await ended_once(job, "video.primary", TRIO)


async def test_in_mid_ffmpeg(job):
    died = job.start("video.primary")
    until(lambda: [p for p in processes_about(job.folder) if b"-progress" in cmdline(p)], "ffmpeg runs", PATIENCE_S)
    died.kill()
    died.wait()
    until(lambda: not processes_about(job.folder), "ffmpeg ends with its worker", PATIENCE_S)
    await job.requeue()
    assert job.start("video.primary").wait(PATIENCE_S) == 0
    await ended_once(job, "video.primary", TRIO)


@pytest.mark.parametrize("last", ["240p.mp4", "hls.m3u8"])
async def test_in_a_ladder_between_its_objects_and_its_row(job, last):
    assert job.start("video.primary").wait(PATIENCE_S) == 0
    died = job.start("video.ladder", die_after=last)
    assert died.wait(PATIENCE_S) == -signal.SIGKILL
    assert any(key.endswith(last) for key in job.objects())
    await job.requeue()
    assert job.start("video.ladder").wait(PATIENCE_S) == 0
    await ended_once(job, "video.ladder", [*TRIO, "hls", "storyboard"], former="hls.v")
    store = S3ObjectStore(job.bucket)
    for key in await job.named():
        assert await store.head(key) is not None
    await store.close()
    [(parts,)] = job.rows("SELECT parts FROM variants WHERE asset_id = %s AND profile = 'hls'", job.asset_id)
    assert {part["name"] for part in parts} == {
        "240p.mp4", "240p.m3u8", "audio.mp4", "audio.m3u8",
    }  # fmt: skip
    progress = job.rows("SELECT progress FROM jobs WHERE asset_id = %s", job.asset_id)
    assert progress == [(100,), (100,)]


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
