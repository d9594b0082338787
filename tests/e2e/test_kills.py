"""kill -9 in the worst moment: a worker in mid-job, Connect between commit and send, the webhook agent in mid-POST.

After each of them everything finishes, and once.
"""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from support import e2e

from cli.bench.processes import descendants
from cli.harness.samples import distinct
from cli.harness.witness import Witness
from connectors.postgres.database import Database
from schemas.records import HEADER_ID
from schemas.topics import EVENTS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

FAST_WEBHOOKS = {"MEDIALANE_WEBHOOK_LEASE_S": "4", "MEDIALANE_WEBHOOK_TIMEOUT_S": "3"}


@pytest.fixture
async def killer(alone):
    """A tenant on a stack that is this test's alone."""
    async with e2e.actor(alone) as found:
        yield found


def command(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def identities(pids):
    """Processes as (pid, start time): a number may be given to another process."""
    found = set()
    for pid in pids:
        try:
            found.add((pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))
        except OSError:
            continue
    return found


async def encoding(worker):
    """Whether an ffmpeg runs among the worker's descendants."""
    return "ffmpeg" in {command(pid) for pid in descendants(worker)}


async def test_a_media_worker_killed_in_mid_video(alone, killer, clip):
    worker = alone.pid("media-video")
    asset_id = await killer.upload("clip.mp4", "video/mp4", clip)
    await e2e.eventually(lambda: encoding(worker), "ffmpeg runs")
    family = identities([worker, *descendants(worker)])
    assert len(family) > 2

    os.kill(worker, signal.SIGKILL)  # the one process only: its children have to notice by themselves

    async def all_gone():
        return not family & identities(pid for pid, _ in family)

    await e2e.eventually(all_gone, "no ffmpeg and no child outlives the worker", 20)
    assert (await killer.client.asset(asset_id)).state == "processing"

    await asyncio.to_thread(alone.start_part, "media-video")
    asset = await killer.ready(asset_id)
    await killer.told(asset_id)
    await killer.finished_once(asset)
    assert len(asset.variants) == len(killer.objects()) == 3
    [job] = await killer.ledger.jobs(asset_id)
    assert (job.deaths, job.attempts) == (1, 0)
    temp = Path(alone.process_env("media-video")["MEDIALANE_WORKER_TEMP_DIR"])

    async def swept():
        return not [path for path in files_under(temp) if str(job.id) in path]

    await e2e.eventually(swept, "the dead worker's files are swept")


async def test_connect_killed_between_commit_and_send(alone, killer, samples):
    topic = killer.platform.topic(EVENTS)
    with Witness(killer.platform.kafka, [topic]) as witness:
        photo = samples.photos[2].read_bytes()
        presigned = [
            await killer.client.presign(f"{index}.jpg", "image/jpeg", len(distinct(photo, f"connect {index}")))
            for index in range(6)
        ]
        for index, one in enumerate(presigned):
            await killer.client.put(one, distinct(photo, f"connect {index}"), "image/jpeg")

        # Half of the completes are committed with Connect alive and perhaps in mid-send, half with Connect dead.
        await asyncio.gather(*(killer.client.complete(one.asset_id) for one in presigned[:3]))
        await asyncio.to_thread(alone.kill, "connect", signal.SIGKILL)
        await asyncio.gather(*(killer.client.complete(one.asset_id) for one in presigned[3:]))
        late = [row.id for one in presigned[3:] for row in await killer.ledger.outbox(one.asset_id)]
        assert len(late) >= 3 * 3
        for one in presigned[3:]:
            assert (await killer.client.asset(one.asset_id)).state == "uploaded"

        await asyncio.to_thread(alone.start_part, "connect")
        for one in presigned:
            asset = await killer.ready(one.asset_id)
            await killer.told(one.asset_id)
            await killer.finished_once(asset)

        rows = [row for one in presigned for row in await killer.ledger.outbox(one.asset_id)]
        ids = {str(row.id) for row in rows if row.route == EVENTS.route}
        assert await asyncio.to_thread(
            witness.wait_for, lambda seen: ids <= {record.header(HEADER_ID) for record in seen}, e2e.PATIENCE_S
        )
        counts = Counter(record.header(HEADER_ID) for record in witness.records)
        # What it had sent and not yet noted comes again, under the same ids; its effects, above, do not.
        assert {counts[identifier] for identifier in ids} <= {1, 2}
    assert len(killer.objects()) == 3 * len(presigned)


async def test_the_webhook_agent_killed_in_mid_post(alone, killer, samples):
    await asyncio.to_thread(alone.restart, "webhooks", FAST_WEBHOOKS)
    killer.receiver.hang_next(1)
    asset_id = await killer.upload("photo.jpg", "image/jpeg", samples.photos[1].read_bytes())
    await killer.receiver.wait_for(lambda got: any(one.plan == "hang" for one in got), e2e.PATIENCE_S)
    [hung] = [one for one in killer.receiver.received if one.plan == "hang"]

    await asyncio.to_thread(alone.kill, "webhooks", signal.SIGKILL)
    asset = await killer.ready(asset_id)
    await asyncio.to_thread(alone.start_part, "webhooks", FAST_WEBHOOKS)

    def sent_again(got):
        return [one.message_id for one in got].count(hung.message_id) >= 2

    await killer.receiver.wait_for(sent_again, e2e.PATIENCE_S)
    events = await killer.told(asset_id)
    received = killer.receiver.about(asset_id)
    assert {one.message_id: one.event_type for one in received}.keys() == {one.message_id for one in received}
    assert sorted({one.message_id: one.event_type for one in received}.values()) == sorted(e.type for e in events)
    attempts = [one for one in received if one.message_id == hung.message_id]
    assert len({one.body for one in attempts}) == 1
    for one in received:
        one.verify(killer.secret)
    await killer.finished_once(asset)

    async with Database(killer.platform.database, application="e2e") as database:

        async def all_delivered():
            return set(await delivery_states(database, asset_id)) == {"delivered"}

        await e2e.eventually(all_delivered, "every delivery is known as delivered")
        assert len(await delivery_states(database, asset_id)) == len(events)
    await asyncio.to_thread(alone.restart, "webhooks")


def files_under(folder):
    return [str(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names]


async def delivery_states(database, asset_id):
    import sqlalchemy as sa

    query = sa.text("SELECT state FROM webhook_deliveries WHERE asset_id = :asset_id")
    async with database.transaction() as connection:
        return list((await connection.execute(query, {"asset_id": asset_id})).scalars())
