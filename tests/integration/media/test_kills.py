"""kill -9 in a video job, at its worst moments: one object, one row, no process and no file is left.

The job runs in a process of its own on a real database and a real store; a second one takes over, as the keeper has it.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import msgspec
import psycopg
import pytest
from support import one_job

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres import keeper, placements
from connectors.postgres.assets import Completed, NewAsset, complete_assets, create_assets
from connectors.postgres.database import Database
from connectors.postgres.tenants import create_tenant
from connectors.postgres.variants import of_content
from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.settings import DatabaseSettings
from schemas.states import MediaKind
from schemas.topics import TOPICS

PATIENCE_S = 120


def until(condition, what):
    """Wait for a condition; the bound only ends a test that would hang."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)
    return value


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


@asynccontextmanager
async def transaction(url):
    """One transaction of the worker's role."""
    async with Database(DatabaseSettings(url=url), application="kills") as database, database.transaction() as made:
        yield made


class Job:
    """An uploaded clip with its queued primary job, and ways to run it and to look at what came of it."""

    def __init__(self, database, bucket, folder):
        self.url, self.bucket, self.folder = database.worker, bucket, folder
        self.tenant_id = self.asset_id = None

    async def make(self, clip):
        asset = NewAsset(
            id=uuid7(), kind=MediaKind.VIDEO, file_name="clip.mp4", content_type="video/mp4",
            size=clip.stat().st_size, object_key=f"uploads/{uuid7()}/clip.mp4",
            upload_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        client = self.s3()
        client.put_object(Bucket=self.bucket.bucket, Key=asset.object_key, Body=clip.read_bytes())
        etag = client.head_object(Bucket=self.bucket.bucket, Key=asset.object_key)["ETag"].strip('"')
        async with transaction(self.url) as connection:
            await placements.confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})
            self.tenant_id = (await create_tenant(connection, f"k-{uuid7().hex[-12:]}")).id
            await create_assets(connection, self.tenant_id, [asset])
            assert await complete_assets(connection, self.tenant_id, [Completed(asset.id, etag, None)]) == [True]
        self.asset_id = asset.id
        return self

    def s3(self):
        return boto3.client(
            "s3", endpoint_url=self.bucket.endpoint, region_name=self.bucket.region,
            aws_access_key_id=self.bucket.access_key, aws_secret_access_key=self.bucket.secret_key,
        )  # fmt: skip

    def rows(self, query, *values):
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def state(self, stage):
        query = "SELECT state, deaths, attempts FROM jobs WHERE asset_id = %s AND stage = %s"
        return self.rows(query, self.asset_id, stage)[0]

    def objects(self):
        listed = self.s3().list_objects_v2(Bucket=self.bucket.bucket, Prefix=f"media/{self.tenant_id}/")
        return {found["Key"] for found in listed.get("Contents", [])}

    async def named(self):
        """The keys that rows name."""
        [(sha256,)] = self.rows("SELECT content_sha256 FROM jobs WHERE asset_id = %s LIMIT 1", self.asset_id)
        async with transaction(self.url) as connection:
            made = await of_content(connection, self.tenant_id, bytes(sha256))
        return [key for variant in made for key in variant.object_keys()]

    def start(self, stage, die_after=None):
        [(job_id, dispatch)] = self.rows(
            "SELECT id, dispatch FROM jobs WHERE asset_id = %s AND stage = %s", self.asset_id, stage
        )
        dispatch = Dispatch(
            job_id=job_id, tenant_id=self.tenant_id, asset_id=self.asset_id, stage=stage, dispatch=dispatch
        )
        orders = one_job.Orders(self.url, self.bucket, dispatch, str(self.folder), die_after)
        command = [sys.executable, "-m", "support.one_job", msgspec.json.encode(orders).decode()]
        tests = Path(__file__).parents[2]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
        return subprocess.Popen(command, env=env)

    async def requeue(self):
        """What the keeper does when the lease of a dead worker has run out."""
        self.rows("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running' RETURNING 1")
        async with transaction(self.url) as connection:
            assert await keeper.emit_expired(connection, batch=10, max_deaths=3) == 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    command = "ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=426x240:duration=2 -f lavfi -i sine=duration=2"
    subprocess.run([*command.split(), "-preset", "ultrafast", "-pix_fmt", "yuv420p", path], check=True)
    return path


@pytest.fixture
async def job(database, bucket, clip, tmp_path):
    return await Job(database, bucket, tmp_path / "temp").make(clip)


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
    until(lambda: not processes_about(job.folder), "no process of a worker's is left")
    assert [path for path in job.folder.rglob("*") if path.is_file()] == []


TRIO = ["poster", "preview", "video_720p"]


@pytest.mark.parametrize("last", ["poster.v1.jpg", "preview.v1.mp4"])
async def test_between_the_upload_of_a_variant_and_its_row(job, last):
    died = job.start("video.primary", die_after=last)
    assert died.wait(PATIENCE_S) == -signal.SIGKILL
    assert any(key.endswith(last) for key in job.objects())
    assert last.split(".")[0] not in str(job.rows("SELECT profile FROM variants WHERE asset_id = %s", job.asset_id))
    until(lambda: not processes_about(job.folder), "its children end with it")
    await job.requeue()
    assert job.start("video.primary").wait(PATIENCE_S) == 0
    await ended_once(job, "video.primary", TRIO)


async def test_in_mid_ffmpeg(job):
    died = job.start("video.primary")
    until(lambda: [p for p in processes_about(job.folder) if b"-progress" in cmdline(p)], "ffmpeg runs")
    died.kill()
    died.wait()
    until(lambda: not processes_about(job.folder), "ffmpeg ends with its worker")
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
