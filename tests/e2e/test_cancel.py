"""Cancel and delete while ffmpeg runs: the child and its ffmpeg end, and nothing of it is written afterwards."""

import os
from pathlib import Path

import pytest
from support import e2e

from cli.client import MedialaneClient, NotFoundError

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def processes_of(job):
    """The ids of processes that work in a job's folder, or on a file of it."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes() + b" " + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if str(job).encode() in said:
            found.add((int(entry.name), (entry / "comm").read_text().strip()))
    return found


def files_of(stack, job):
    """What the worker for videos has on its temporary disk for a job: its folder, and all that is in it."""
    temp = Path(stack.process_env("media-video")["MEDIALANE_WORKER_TEMP_DIR"])
    return [
        path for parent, folders, names in os.walk(temp) for path in (*folders, *names) if str(job) in parent + path
    ]


async def state_of(actor, asset_id):
    try:
        return (await actor.client.asset(asset_id)).state
    except NotFoundError:
        return "none"


@pytest.mark.parametrize(
    ("act", "event", "seen"),
    [
        (MedialaneClient.cancel_asset, "asset.cancelled", "cancelled"),
        (MedialaneClient.delete_asset, "asset.deleted", "none"),
    ],
    ids=["cancel", "delete"],
)
async def test_it_stops_what_runs(whole, actor, samples, clip, act, event, seen):
    asset_id = await actor.upload("clip.mp4", "video/mp4", clip)

    async def encoding():
        jobs = await actor.ledger.jobs(asset_id)
        return jobs and "ffmpeg" in {name for _, name in processes_of(jobs[0].id)}

    await e2e.eventually(encoding, "ffmpeg runs")
    [job] = await actor.ledger.jobs(asset_id)
    assert (job.state, job.epoch) == ("running", 1)
    assert files_of(whole, job.id)

    await act(actor.client, asset_id)
    assert await state_of(actor, asset_id) == seen, "at once, whatever still runs"

    async def gone():
        return not processes_of(job.id) and not files_of(whole, job.id)

    await e2e.eventually(gone, "child, ffmpeg and files are gone")
    objects = set(actor.objects())
    events = await actor.told(asset_id)
    types = [one.type for one in events]
    assert types[-1] == event
    assert not {"job.done", "job.failed", *e2e.TERMINAL} & set(types)

    # The worker goes on: when it has done another tenant's video, whatever it still had to do for this one is done.
    async with e2e.actor(whole) as other:
        await other.finished_once(
            await other.ready(await other.upload("v.mp4", "video/mp4", samples.video.read_bytes()))
        )

    assert await actor.ledger.events(asset_id) == events
    assert set(actor.objects()) <= objects, "a purge may take away, nothing may come"
    assert await state_of(actor, asset_id) == seen
    assert await actor.ledger.dead_letters(asset_id) == []
    [ended] = await actor.ledger.jobs(asset_id)
    assert (ended.state, ended.attempts, ended.deaths, ended.epoch) == ("cancelled", 0, 0, 2)
    assert sorted(types) == sorted({one.message_id: one.event_type for one in actor.receiver.about(asset_id)}.values())
    assert not processes_of(job.id)
    assert not files_of(whole, job.id)
