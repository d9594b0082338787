"""The processes of the release before on this release's tables, as between `migrate --phase expand` and their stop."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from support import e2e
from support.processes import environment

import migrations
from cli.harness.samples import distinct
from connectors.postgres.database import Database

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

PROCESSES = ("api", "keeper", "webhooks")
# All that it tells of an upload; there are more by now.
EVENTS = (
    "asset.created", "asset.uploaded", "asset.ready", "asset.failed", "job.starting", "job.started", "job.done",
    "job.failed", "variant.ready",
)  # fmt: skip
# As after a failure: only the keeper queues it again.
_REST = """
    UPDATE jobs SET state = 'waiting', reason = 'retry', due_at = now(), next_emit_at = NULL WHERE asset_id = :asset_id
"""


@pytest.fixture
async def before(alone, yesterday):
    """The stack with its API, keeper and webhook agent from the release before; this release's afterwards."""
    assert migrations.current(alone.env["MEDIALANE_MIGRATION_DATABASE_URL"]) == migrations.head()
    for name in PROCESSES:
        await asyncio.to_thread(alone.restart, name, {"PYTHONPATH": str(yesterday)})
        assert f"PYTHONPATH={yesterday}" in environment(alone.pid(name))
    yield alone
    for name in PROCESSES:
        await asyncio.to_thread(alone.restart, name, {})


def complaints(stack, part, already):
    lines = [json.loads(line) for line in stack.log(part).read_bytes().splitlines()[already:] if line.startswith(b"{")]
    return [line for line in lines if line.get("level") in {"warning", "error", "critical"}]


async def test_an_upload_through_it_is_made_told_and_tended(before, samples):
    photo = samples.photos[2].read_bytes()
    already = {name: len(before.log(name).read_bytes().splitlines()) for name in PROCESSES}
    async with (
        e2e.actor(before, events=EVENTS) as actor,
        Database(actor.platform.database, application="up") as database,
    ):
        await asyncio.to_thread(before.stop_part, "media-images")
        asset_id = await actor.upload("a.jpg", "image/jpeg", distinct(photo, "yesterday"))
        async with database.transaction() as connection:
            await connection.execute(sa.text(_REST), {"asset_id": asset_id})

        async def queued():
            return [job.state for job in await actor.ledger.jobs(asset_id)] == ["queued"]

        await e2e.eventually(queued, "its keeper queues what is due")
        await asyncio.to_thread(before.start_part, "media-images")
        asset = await actor.ready(asset_id)
        await actor.told(asset_id)
    assert {variant.profile for variant in asset.variants} >= {"thumbnail", "display_small", "display_large"}
    assert [line for name in PROCESSES for line in complaints(before, name, already[name])] == []
