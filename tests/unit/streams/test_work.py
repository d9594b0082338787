"""What a job's work asks of the store: the bytes that were completed, and no others."""

from datetime import UTC, datetime

import pytest

from connectors.postgres.jobs import ClaimedJob
from connectors.telemetry import Tracing
from schemas.ids import uuid7
from schemas.states import Stage
from streams.media.work import Work


class AskedError(Exception):
    """What was asked of the store."""


class Store:
    async def download(self, key, path, **pins):
        raise AskedError(pins)


async def test_the_version_that_was_completed_is_downloaded(tmp_path):
    job = ClaimedJob(
        job_id=uuid7(), tenant_id=uuid7(), asset_id=uuid7(), generation=1, stage=Stage.IMAGE_PRIMARY, epoch=1,
        attempts=0, deaths=0, traceparent=None, content_sha256=None, object_key="uploads/a", etag="e", version_id="v",
        size=5, content_type="image/jpeg", file_name="a.jpg", created_at=datetime.now(UTC),
        queued_at=datetime.now(UTC), claimed_at=datetime.now(UTC),
    )  # fmt: skip
    work = Work(job, None, None, Store(), None, tmp_path, Tracing("test"), (), on_outage=lambda _: None)
    with pytest.raises(AskedError) as asked:
        await work.produce()
    assert asked.value.args == ({"if_match": "e", "version_id": "v"},)
