"""An upgrade while everything runs: the release before and this one work side by side on this release's tables.

What neither of them knows, a record of a release to come, waits in its row and is not given up.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from support import e2e
from support.processes import environment

import migrations
from cli.harness.samples import distinct
from connectors.postgres import outbox
from connectors.postgres.database import Database
from schemas.records import DISPATCH_TYPE, Dispatch
from schemas.topics import IMAGE_JOBS
from streams.media.records import VERSION

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

OLD = "media-images@9"
# Reads golden records with the code that is first on its path, and prints what they are to a worker.
READ = """
import json, sys
from pathlib import Path
from msgspec import ValidationError
import streams
from schemas.events import decode_event
from streams.core.ledger import Partition
from streams.faust_app import Record
from streams.media.records import read
found = {"code": str(Path(streams.__file__).parents[1])}
for path in sorted(Path(sys.argv[1]).glob("*.json")):
    value = path.read_bytes()
    if path.name.startswith("job.dispatch"):
        record = Record(Partition("media.jobs.image", 0), 0, None, value, (), 0.0)
        found[path.name] = type(read(record, "jobs.image")).__name__
    elif not path.name.startswith("job.dead"):
        try:
            found[path.name] = type(decode_event(value)).__name__
        except ValidationError:
            found[path.name] = None  # a type that this code does not know
print(json.dumps(found))
"""


def golden(folder):
    return Path(folder) / "tests" / "contract" / "golden"


def read_with(code, records):
    """What the code in a folder makes of the golden records in another."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, str(golden(records))], env={"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"},
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("code") == str(code)
    return found


def test_each_release_reads_the_golden_records_of_the_other(yesterday):
    today = Path(migrations.__file__).parents[1]
    before, now = read_with(yesterday, yesterday), read_with(today, today)
    assert before["job.dispatch.json"] == "Offer"
    assert read_with(today, yesterday) == before
    assert all(now.values())
    # The other way round: types may have been added, and no known one may have become unreadable.
    backwards = read_with(yesterday, today)
    assert {name: now[name] for name in before} == {name: backwards[name] for name in before}
    assert backwards["job.dispatch.json"] == "Offer"


def log_of(stack, part):
    lines = stack.log(part).read_bytes().splitlines()
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def done_by(stack, part):
    return {line["asset_id"] for line in log_of(stack, part) if line.get("event") == "job done"}


async def test_workers_of_both_releases_share_the_work(alone, yesterday, samples):
    assert migrations.current(alone.env["MEDIALANE_MIGRATION_DATABASE_URL"]) == migrations.head()
    await asyncio.to_thread(alone.start_part, OLD, {"PYTHONPATH": str(yesterday)})
    assert f"PYTHONPATH={yesterday}" in environment(alone.pid(OLD))
    photo = samples.photos[2].read_bytes()
    try:
        await e2e.eventually(lambda: joined(alone), "the release before has joined the group")
        async with AsyncExitStack() as scope:
            assets = {}
            # Tenants are spread over the partitions, and those over the workers: go on until both have worked.
            for number in range(40):
                actor = await scope.enter_async_context(e2e.actor(alone, name=f"up{number}"))
                asset_id = await actor.upload("a.jpg", "image/jpeg", distinct(photo, f"upgrade {number}"))
                assets[asset_id] = actor
                asset = await actor.ready(asset_id)
                await actor.told(asset_id)
                await actor.finished_once(asset)
                if number >= 3 and all(mine(alone, part, assets) for part in (OLD, "media-images")):
                    break

            async def all_logged():
                old, new = (mine(alone, part, assets) for part in (OLD, "media-images"))
                return old and new and not old & new and old | new == {str(asset_id) for asset_id in assets}

            await e2e.eventually(all_logged, "both releases have worked, each on jobs of its own", 60)
    finally:
        await asyncio.to_thread(alone.stop_part, OLD)


def mine(stack, part, assets):
    return done_by(stack, part) & {str(asset_id) for asset_id in assets}


async def joined(stack):
    return any(line.get("event") == "process started" for line in log_of(stack, OLD)) and (await members(stack)) >= 2


async def members(stack):
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": stack.env["MEDIALANE_KAFKA_BROKERS"]})
    described = admin.describe_consumer_groups(["media-media-images"])["media-media-images"]
    group = await asyncio.to_thread(described.result, 20)
    return sum(bool(member.assignment.topic_partitions) for member in group.members)


class FutureDispatch(Dispatch, frozen=True, kw_only=True):
    """What a release to come might emit."""

    hints: tuple[str, ...] = ("whatever",)


async def test_a_record_of_a_newer_release_waits_in_its_row(alone, samples):
    async with e2e.actor(alone) as actor, Database(actor.platform.database, application="upgrade") as database:
        await asyncio.to_thread(alone.stop_part, "media-images")
        already = len(log_of(alone, "media-images"))
        asset_id = await actor.upload("a.jpg", "image/jpeg", distinct(samples.photos[2].read_bytes(), "newer"))
        await emit_as_newer(database, asset_id)
        await asyncio.to_thread(alone.start_part, "media-images")

        async def left():
            return [
                line for line in log_of(alone, "media-images")[already:] if line["event"] == "record left to the keeper"
            ]

        await e2e.eventually(left, "the record is left alone")
        assert f"version {VERSION + 1}" in (await left())[0]["reason"]
        [job] = await actor.ledger.jobs(asset_id)
        assert (job.state, job.epoch, job.attempts, job.deaths) == ("queued", 0, 0, 0)
        assert await actor.ledger.dead_letters(asset_id) == []

        # The keeper sends it again when its interval is over; here that is a release which the worker knows.
        await set_due(database, asset_id)
        asset = await actor.ready(asset_id)
        await actor.told(asset_id)
        await actor.finished_once(asset)
        [job] = await actor.ledger.jobs(asset_id)
        assert (job.attempts, job.deaths) == (0, 0)
        assert await actor.ledger.dead_letters(asset_id) == []


async def emit_as_newer(database, asset_id):
    """Make the dispatch that is in Kafka already stale, and emit the next one as a newer release would."""
    async with database.transaction() as connection:
        row = (
            await connection.execute(
                sa.text(
                    "UPDATE jobs SET dispatch = dispatch + 1, next_emit_at = now() + interval '1 hour'"
                    " WHERE asset_id = :asset_id RETURNING id, tenant_id, stage, dispatch"
                ),
                {"asset_id": asset_id},
            )
        ).one()
        newer = FutureDispatch(
            job_id=row.id, tenant_id=row.tenant_id, asset_id=asset_id, stage=row.stage, dispatch=row.dispatch,
            v=VERSION + 1,
        )  # fmt: skip
        await outbox.write(
            connection, route=IMAGE_JOBS.route, subject_id=str(row.id), key=str(row.tenant_id), tenant_id=row.tenant_id,
            record_type=DISPATCH_TYPE, payload=msgspec.json.encode(newer).decode(),
        )  # fmt: skip


async def set_due(database, asset_id):
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("UPDATE jobs SET next_emit_at = now() WHERE asset_id = :asset_id"), {"asset_id": asset_id}
        )
