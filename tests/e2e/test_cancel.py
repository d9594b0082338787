"""Cancel and delete while ffmpeg runs: the child and its ffmpeg end, and nothing of it is written afterwards."""

import os
from pathlib import Path

import pytest
from support import e2e

from cli.client import MedialaneClient, NotFoundError

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def work_of(stack, job):
    """What a job has on the disk of the worker for videos: its folder with all that is in it, and its child's cell."""
    temp = Path(stack.process_env("media-video")["MEDIALANE_WORKER_TEMP_DIR"])
    folders = [path for path in temp.glob("*/*") if str(job) in path.name]
    cells = [
        cell.parent for cell in temp.glob("*/cell-*/source.bin") for path in folders if same(cell, path / "source")
    ]
    within = [Path(parent, name) for top in (*folders, *cells) for parent, _, names in os.walk(top) for name in names]
    return [*folders, *cells, *within], cells


def same(one, other):
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def processes_in(cells):
    """The names of the processes that work in one of these cells, or on a file of it."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes() + b" " + os.fsencode((entry / "cwd").readlink())
            if any(os.fsencode(cell) in said for cell in cells):
                found.add((entry / "comm").read_text().strip())
        except OSError:
            continue
    return found


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
        return jobs and "ffmpeg" in processes_in(work_of(whole, jobs[0].id)[1])

    await e2e.eventually(encoding, "ffmpeg runs")
    [job] = await actor.ledger.jobs(asset_id)
    assert (job.state, job.epoch) == ("running", 1)
    files, cells = work_of(whole, job.id)
    assert len(cells) == 1

    await act(actor.client, asset_id)
    assert await state_of(actor, asset_id) == seen, "at once, whatever still runs"

    async def gone():
        return not processes_in(cells) and not any(path.exists() for path in files)

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
    assert not processes_in(cells)
    assert not work_of(whole, job.id)[0]
