"""An uploaded clip and its jobs, each to be run in a process of its own, on a real database and a real store."""

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg

from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.assets.lifecycle import NewAsset, create_assets
from connectors.postgres.assets.variants import of_content
from connectors.postgres.database import Database
from connectors.postgres.placement import placements
from connectors.postgres.protocol import keeper
from connectors.postgres.protocol.completing import Completed, complete_assets
from schemas.ids import uuid7
from schemas.profiles import CATALOGUE
from schemas.records import Dispatch
from schemas.settings import DatabaseSettings
from schemas.states import MediaKind
from schemas.topics import TOPICS
from support import one_job
from support.objects import client_of


@asynccontextmanager
async def transaction(url):
    """One transaction of the worker's role."""
    async with Database(DatabaseSettings(url=url), application="video-job") as database, database.transaction() as made:
        yield made


class Job:
    """An uploaded clip with its queued primary job, and ways to run it and to look at what came of it."""

    def __init__(self, url, bucket, folder, tenant_id=None):
        self.url, self.bucket, self.folder = url, bucket, folder
        self.tenant_id, self.asset_id = tenant_id, None

    async def make(self, clip):
        async with transaction(self.url) as connection:
            await placements.confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})
            self.tenant_id = (await create_tenant(connection, f"k-{uuid7().hex[-12:]}")).id
        return await self.upload(clip)

    async def again(self, clip):
        """The same tenant's next upload."""
        return await Job(self.url, self.bucket, self.folder, self.tenant_id).upload(clip)

    async def upload(self, clip):
        asset = NewAsset(
            id=uuid7(), kind=MediaKind.VIDEO, file_name="clip.mp4", content_type="video/mp4",
            size=clip.stat().st_size, object_key=f"uploads/{uuid7()}/clip.mp4",
            upload_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        client = self.s3()
        client.put_object(Bucket=self.bucket.bucket, Key=asset.object_key, Body=clip.read_bytes())
        etag = client.head_object(Bucket=self.bucket.bucket, Key=asset.object_key)["ETag"].strip('"')
        async with transaction(self.url) as connection:
            await create_assets(connection, self.tenant_id, [asset])
            assert await complete_assets(connection, self.tenant_id, [Completed(asset.id, etag, None)]) == [True]
        self.asset_id = asset.id
        return self

    def s3(self):
        return client_of(self.bucket)

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
            made = await of_content(connection, self.tenant_id, bytes(sha256), CATALOGUE.values())
        return [key for variant in made for key in variant.object_keys()]

    def start(self, stage, **troubles):
        """The job in a process of its own, which meets these troubles (`one_job.Orders`)."""
        [(job_id, dispatch)] = self.rows(
            "SELECT id, dispatch FROM jobs WHERE asset_id = %s AND stage = %s ORDER BY generation DESC LIMIT 1",
            self.asset_id, stage,
        )  # fmt: skip
        dispatch = Dispatch(
            job_id=job_id, tenant_id=self.tenant_id, asset_id=self.asset_id, stage=stage, dispatch=dispatch
        )
        orders = one_job.Orders(self.url, self.bucket, dispatch, str(self.folder), **troubles)
        command = [sys.executable, "-m", "support.one_job", msgspec.json.encode(orders).decode()]
        tests = Path(__file__).parents[1]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
        return subprocess.Popen(command, env=env)

    async def requeue(self):
        """What the keeper does when the lease of a dead worker has run out."""
        self.rows("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running' RETURNING 1")
        async with transaction(self.url) as connection:
            assert await keeper.emit_expired(connection, batch=10, max_deaths=3, lease_s=0) == 1
