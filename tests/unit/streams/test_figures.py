"""What a job's end adds to the metrics."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.metrics import Metrics
from schemas.metrics import ASSET_READY_DURATION
from schemas.states import Stage
from streams.media.figures import JobFigures

NO_STEPS = {"stages": []}


@pytest.fixture
def job():
    """Completed ten minutes before it was claimed, by Postgres' clock, which is nowhere near ours."""
    now = datetime(2001, 1, 1, tzinfo=UTC)
    return ClaimedJob(
        job_id=UUID(int=1), tenant_id=UUID(int=2), asset_id=UUID(int=3), generation=1, stage=Stage.IMAGE_PRIMARY, epoch=3,
        attempts=2, deaths=0, traceparent=None, content_sha256=None, object_key="uploads/x", etag="e", size=1,
        content_type="image/jpeg", file_name="x.jpg", created_at=now - timedelta(minutes=10), queued_at=now,
        claimed_at=now,
    )  # fmt: skip


def ready(job):
    """How many were observed, and their seconds."""
    metrics = Metrics(CollectorRegistry(), process="media-images")
    JobFigures(metrics).done(job, NO_STEPS, worked_s=2.5)
    name, labels = ASSET_READY_DURATION.name, {"kind": "image"}
    return [metrics.registry.get_sample_value(f"{name}_{part}", labels) for part in ("count", "sum")]


def test_time_to_ready_is_counted_from_complete(job):
    assert ready(job) == [1, 602.5]


def test_only_what_somebody_uploaded_counts(job):
    """A reprocessed asset waits for its turn by design, and a later stage makes nothing ready."""
    assert ready(msgspec.structs.replace(job, generation=2))[0] == 0
    assert ready(msgspec.structs.replace(job, stage=Stage.IMAGE_AVIF))[0] == 0
