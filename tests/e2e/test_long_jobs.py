"""Jobs many times longer than leases and sessions, and what may come over their workers meanwhile.

Rebalances, a rolling restart, a stop in mid-job that ends too late, and a job that takes every worker with it.
"""

import asyncio
import signal
import time

import pytest
from support import e2e
from support.hurry import FIRST, LEASE_S, SECOND, SESSION_S, running, signal_all

from cli.harness.samples import distinct
from cli.harness.witness import Witness
from cli.stack.processes import alive, identify
from schemas.records import HEADER_TENANT
from schemas.topics import DEAD_LETTERS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

LOST, FENCED = "media_leases_lost_total", "media_fenced_finishes_total"


async def the_job(actor, asset_id):
    [job] = await actor.ledger.jobs(asset_id)
    return job


async def test_through_two_rebalances_and_a_rolling_restart(crew, owner, held):
    one = held()
    asset_id = await owner.upload("long.jpg", "image/jpeg", one.content)
    first_child = identify(await one.run(1))
    since = time.monotonic()
    claimed = await the_job(owner, asset_id)
    assert crew.holder(claimed) == FIRST

    await crew.start(SECOND)  # it joins the group, and gets partitions of the first one's
    await crew.stop(SECOND)  # it leaves, and they go back

    async def long_enough():
        return time.monotonic() - since > 3 * max(LEASE_S, SESSION_S)

    await e2e.eventually(long_enough, "the job lasts several leases and sessions")
    job = await the_job(owner, asset_id)
    assert (job.state, job.epoch, job.owner, job.deaths) == ("running", 1, claimed.owner, 0)
    assert one.runs == 1
    assert running([first_child])

    # Each worker is replaced in its turn. Whoever holds the job gives it back within its drain, and another goes on.
    await crew.start(SECOND)
    for name in (FIRST, SECOND):
        before, runs = await the_job(owner, asset_id), one.runs
        held_it = crew.holder(before) == name
        await crew.stop(name)
        await crew.start(name)
        await one.run(runs + held_it)
        job = await the_job(owner, asset_id)
        assert (job.epoch, job.dispatch) == (before.epoch + held_it, before.dispatch + held_it)
        assert (job.attempts, job.deaths) == (0, 0), "a drain costs nothing"
    assert one.runs >= 2
    assert not running([first_child])

    runs = one.runs
    one.let_go(runs)
    asset = await owner.ready(asset_id)
    await owner.told(asset_id)
    await owner.finished_once(asset)
    job = await the_job(owner, asset_id)
    assert (job.epoch, job.attempts, job.deaths) == (runs, 0, 0)
    assert one.runs == runs
    assert len(asset.variants) == len(owner.objects()) == 3


async def test_stopped_for_longer_than_its_lease(crew, owner, held, samples):
    await crew.both()
    one = held()
    asset_id = await owner.upload("long.jpg", "image/jpeg", one.content)
    child = identify(await one.run(1))
    frozen = crew.holder(await the_job(owner, asset_id))
    family = crew.family(frozen)
    assert child in family
    figures = await crew.figures(frozen)

    signal_all(family, signal.SIGSTOP)
    try:
        await one.run(2)  # its lease ran out, and the other worker has the job
        one.let_go(2)
        asset = await owner.ready(asset_id)
        events = await owner.told(asset_id)
        job, objects = await the_job(owner, asset_id), sorted(owner.objects())
        assert (job.state, job.epoch, job.attempts, job.deaths) == ("done", 2, 0, 1)
        assert alive(child.pid, child.started), "it sleeps in mid-job"
    finally:
        signal_all(family, signal.SIGCONT)

    async def child_gone():
        return not running([child])

    await e2e.eventually(child_gone, "the child of the lost lease is killed")

    async def counted():
        now = await crew.figures(frozen)
        return now[LOST] + now[FENCED] == figures[LOST] + figures[FENCED] + 1

    await e2e.eventually(counted, "the lost lease is counted, once")

    async def both_ready():
        return await crew.is_ready(FIRST) and await crew.is_ready(SECOND)

    await e2e.eventually(both_ready, "the worker that slept is back in its group")
    more = [distinct(samples.photos[1].read_bytes(), f"awake {number}") for number in range(3)]
    for number, content in enumerate(more):
        await owner.ready(await owner.upload(f"{number}.jpg", "image/jpeg", content))

    await owner.finished_once(asset)
    assert await owner.ledger.events(asset_id) == events, "whoever woke up too late changed nothing"
    assert await the_job(owner, asset_id) == job
    assert set(objects) <= set(owner.objects())
    assert len(owner.objects()) == 3 * (1 + len(more))
    assert one.runs == 2


async def test_a_job_that_takes_every_worker_with_it(crew, owner, held, samples):
    await crew.both()
    one = held()
    topic = owner.platform.topic(DEAD_LETTERS)
    async with e2e.actor(crew.stack, name="beside") as other:
        with Witness(owner.platform.kafka, [topic]) as witness:
            asset_id = await owner.upload("deadly.jpg", "image/jpeg", one.content)
            beside = []
            for number in (1, 2, 3):
                await one.run(number)
                content = distinct(samples.photos[1].read_bytes(), f"beside {number}")
                beside.append(await other.upload(f"{number}.jpg", "image/jpeg", content))
                job = await the_job(owner, asset_id)
                assert (job.epoch, job.attempts, job.deaths) == (number, 0, number - 1)
                name = crew.holder(job)
                await asyncio.to_thread(crew.stack.kill, name)
                await crew.start(name)  # as a supervisor does

            asset = await owner.failed(asset_id)
            assert asset.error_code == "worker_lost"
            assert [event.type for event in await owner.told(asset_id)][-2:] == ["job.failed", "asset.failed"]
            [told] = [said for said in owner.receiver.about(asset_id) if said.event_type == "asset.failed"]
            assert told.payload["data"]["code"] == "worker_lost"
            job = await the_job(owner, asset_id)
            assert (job.state, job.attempts, job.deaths) == ("failed", 0, 3)
            assert [letter.code for letter in await owner.ledger.dead_letters(asset_id)] == ["worker_lost"]
            mine = str(owner.tenant.id)

            def buried(seen):
                return any(record.header(HEADER_TENANT) == mine for record in seen)

            assert await asyncio.to_thread(witness.wait_for, buried, e2e.PATIENCE_S)

        for of_other in beside:
            ready = await other.ready(of_other)
            await other.told(of_other)
            await other.finished_once(ready)
            job = await the_job(other, of_other)
            assert (job.state, job.attempts) == ("done", 0)
        assert len(other.objects()) == 3 * len(beside)

    await owner.ready(await owner.upload("after.jpg", "image/jpeg", samples.photos[1].read_bytes()))
    assert one.runs == 3, "nobody takes it up again"

    async def both_ready():
        return await crew.is_ready(FIRST) and await crew.is_ready(SECOND)

    await e2e.eventually(both_ready, "the workers are ready again")
