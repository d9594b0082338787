"""What a job's work asks of the store: the bytes that were completed, and no others."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.protocol.content import Decision, Role
from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry import Tracing
from schemas.ids import uuid7
from schemas.states import Stage
from streams.media.work import Work


class AskedError(Exception):
    """What was asked of the store."""


class Store:
    async def download(self, key, path, **pins):
        raise AskedError(pins)

    async def head(self, key, **how):
        raise AskedError(key, how)


class Database:
    @asynccontextmanager
    async def transaction(self):
        yield None


def work_of(tmp_path, *, sha256=None, profiles=()):
    job = ClaimedJob(
        job_id=uuid7(), tenant_id=uuid7(), asset_id=uuid7(), generation=1, stage=Stage.IMAGE_PRIMARY, epoch=1,
        attempts=0, deaths=0, traceparent=None, content_sha256=sha256, object_key="uploads/a", etag="e", version_id="v",
        size=5, content_type="image/jpeg", file_name="a.jpg", created_at=datetime.now(UTC),
        queued_at=datetime.now(UTC), claimed_at=datetime.now(UTC),
    )  # fmt: skip
    return Work(
        job, Database(), None, Store(), None, tmp_path, Tracing("test"), profiles, on_outage=lambda _: None
    )  # fmt: skip


async def test_the_version_that_was_completed_is_downloaded(tmp_path):
    with pytest.raises(AskedError) as asked:
        await work_of(tmp_path).produce()
    assert asked.value.args == ({"if_match": "e", "version_id": "v"},)


async def test_what_was_made_before_is_asked_for_behind_files(tmp_path, monkeypatch):
    """As all of the worker's own: impatient, with every place taken, it would close the gate of a store that is well."""

    async def answer(value):
        return value

    sha256 = b"s" * 32
    made = NewVariant(
        profile="thumbnail", profile_version=1, content_sha256=sha256, object_key="media/x", content_type="image/webp",
        format="webp", width=1, height=1, duration_s=None, size=1, sha256=sha256,
    )  # fmt: skip
    decision = Decision(role=Role.REUSE, facts=None)
    monkeypatch.setattr("streams.media.work.join_content", lambda *_, **__: answer(decision))
    monkeypatch.setattr("connectors.postgres.assets.variants.of_content", lambda *_: answer([made]))
    with pytest.raises(AskedError) as asked:
        await work_of(tmp_path, sha256=sha256).produce()
    assert asked.value.args == ("media/x", {"patient": True})
