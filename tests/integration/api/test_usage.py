"""Usage from events to `GET /api/v1/usage` and `medialane usage`: the real process keeps the table between them."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from support import api
from support.commands import medialane

from connectors.kafka.options import client_options
from schemas.events import AssetUploaded, JobDone, JobFailed, JobStarted, Variant, VariantReady, encode_event
from schemas.ids import uuid7
from schemas.states import Stage
from schemas.topics import EVENTS

pytestmark = pytest.mark.stack
BOUND_S = 120


@pytest.fixture(scope="module")
def server(database, bucket, kafka):
    with api.running(api.environment(database, bucket) | of(kafka)) as started:
        yield started


def of(kafka):
    return {"MEDIALANE_KAFKA_BROKERS": kafka.brokers, "MEDIALANE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix}


@pytest.fixture(scope="module")
def counting(kafka, tmp_path_factory):
    """The process that keeps the table."""
    env = {"PATH": os.environ["PATH"], "MEDIALANE_WORKER_TEMP_DIR": str(tmp_path_factory.mktemp("usage"))}
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "run", "usage"], env=env | of(kafka))
    yield process
    process.terminate()
    assert process.wait(60) == 0


def events(tenant_id, at):
    common = {"tenant_id": tenant_id, "asset_id": uuid7(), "time": at, "generation": 1}
    job = {"job_id": uuid7(), "stage": Stage.VIDEO_PRIMARY}
    variant = Variant(profile="p", content_type="image/webp", width=1, height=1, size=7, sha256="0", object_key="k")
    made = [
        (AssetUploaded, {"size": 100, "etag": "e"}),
        (JobStarted, job | {"wait_s": 1.5}),
        (VariantReady, {"variant": variant}),
        (JobDone, job | {"attempts": 1, "cpu_s": 2.5}),
        (JobFailed, job | {"stage": Stage.IMAGE_AVIF, "code": "corrupt", "detail": "", "attempts": 1, "cpu_s": 0.25}),
    ]
    return [kind(id=uuid7(), seq=seq, **common, **about) for seq, (kind, about) in enumerate(made, 1)]


def send(kafka, made):
    producer = Producer(client_options(kafka))
    for event in made:
        producer.produce(EVENTS.name(kafka.topic_prefix), encode_event(event), partition=0)
    assert producer.flush(30) == 0


async def test_usage_is_told_by_day_and_stage_to_its_tenant_only(new_caller, counting, kafka, database, operator):
    mine, other = await new_caller(), await new_caller()
    now = datetime.now(UTC)
    today, before = [moment.date().isoformat() for moment in (now, now - timedelta(days=2))]
    send(kafka, [
        *events(mine.tenant_id, now), *events(mine.tenant_id, now),
        *events(mine.tenant_id, now - timedelta(days=2)), *events(other.tenant_id, now),
    ])  # fmt: skip

    async def used(caller, query=""):
        status, answer, _ = await caller.call("GET", f"/api/v1/usage{query}")
        assert status == 200, answer
        return answer["data"]

    async with asyncio.timeout(BOUND_S):
        while (await used(other))["total"]["jobsFailed"] < 1:  # noqa: ASYNC110 - the last event that was sent
            await asyncio.sleep(0.5)
    found = await used(mine)
    stages = [
        {"stage": "image.avif", "kind": "image", "jobsDone": 0, "jobsFailed": 1, "cpuS": 0.25},
        {"stage": "video.primary", "kind": "video", "jobsDone": 1, "jobsFailed": 0, "cpuS": 2.5},
    ]
    assert found["days"][0] == {
        "day": before, "jobsDone": 1, "jobsFailed": 1, "cpuS": 2.75, "uploads": 1, "bytesIn": 100, "bytesOut": 7,
        "meanWaitS": 1.5, "longestWaitS": 1.5, "stages": stages,
    }  # fmt: skip
    assert [(day["day"], day["jobsDone"], day["bytesIn"]) for day in found["days"]] == [
        (before, 1, 100),
        (today, 2, 200),
    ]
    assert (found["total"]["jobsDone"], found["total"]["cpuS"], found["total"]["bytesOut"]) == (3, 8.25, 21)
    assert [day["day"] for day in (await used(mine, "?days=1"))["days"]] == [today]
    assert (await used(other))["total"]["jobsDone"] == 1
    assert (await mine.call("GET", "/api/v1/usage?days=36"))[1]["field"] == "days"

    env = {"MEDIALANE_DATABASE_URL": database.worker} | of(kafka)
    slug = await operator.slug(mine.tenant_id)
    told = json.loads(usage(env, "--tenant", slug, "--window", "5d", "--json").stdout)
    assert list(told) == [slug]
    assert (told[slug]["jobs_done"], told[slug]["cpu_s"], told[slug]["mean_wait_s"]) == (3, 8.25, 1.5)
    assert told[slug]["stages"]["image.avif"]["jobs_failed"] == 3
    lines = usage(env, "--window", "5d").stdout.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith(slug)] == [[slug, "3", "3", "8.2"]]
    strange = usage(env, "--tenant", "nobody")
    assert (strange.returncode, "there is no tenant 'nobody'" in strange.stderr) == (1, True)


def usage(env, *arguments):
    return medialane(env, "usage", *arguments)


async def test_without_kafka_it_says_when_to_come_again(env, new_caller):
    with api.running(env) as started:
        caller = await new_caller(started.address)
        status, answer, headers = await caller.call("GET", "/api/v1/usage")
        assert (status, answer["code"], headers["Retry-After"]) == (503, "broker_unavailable", "10")
