"""Many jobs in one transaction: each claim and each end is its own, whatever becomes of the others."""

import asyncio

import pytest
from support import protocol

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.protocol import jobs
from connectors.postgres.protocol.finishing import Finish, finish_all
from connectors.postgres.protocol.jobs import ClaimedJob, Offered
from schemas.details import Details, Facts
from schemas.states import Stage

CREDITS = 3


@pytest.fixture
async def tenants(worker, seed):
    made = [await seed.tenant(worker) for _ in range(2)]
    await seed.change(worker, "UPDATE tenants SET credits = :n WHERE id = ANY(:t)", n=CREDITS, t=made)
    return made


async def claim_all(worker, records, owner="w"):
    async with worker.transaction() as connection:
        return await jobs.claim_all(connection, [Offered(record) for record in records], owner=owner, lease_s=60)


async def join(worker, job, sha256):
    async with worker.transaction() as connection:
        return await protocol.join(connection, job, sha256)


def sha_of(made):
    return made.job_id.bytes * 2


def end_of(job, made, **more):
    facts = Facts(width=job.generation, height=2, details=Details(format=str(made.asset_id)[:8]))
    return Finish(job=job, sha256=sha_of(made), facts=facts, report={"cpu_s": 0.25}, traceparent=None, **more)


async def end_all(worker, ends):
    async with worker.transaction() as connection:
        return await finish_all(connection, ends)


async def timeline(worker, seed, made):
    return await seed.column(worker, "SELECT type FROM asset_events WHERE asset_id = :a ORDER BY seq", a=made.asset_id)


async def states(worker, seed, made):
    return await seed.column(
        worker, "SELECT state FROM jobs WHERE id = ANY(:j) ORDER BY id", j=[m.job_id for m in made]
    )


async def test_each_record_gets_its_own_answer(worker, seed, tenants):
    here, there = [await seed.upload(worker, tenant) for tenant in tenants]
    records = [here.dispatch(), there.dispatch(7), here.dispatch(), there.dispatch()]
    first, stale, twice, last = await claim_all(worker, records)
    assert [first.job_id, last.job_id] == [here.job_id, there.job_id]
    assert (stale, twice) == ("stale", "conflict")
    assert (first.tenant_id, last.tenant_id) == tuple(tenants)
    assert await claim_all(worker, [here.dispatch(), there.dispatch()]) == ["conflict"] * 2
    for made in (here, there):
        assert await timeline(worker, seed, made) == ["job.started"]


async def test_two_groups_that_meet_share_the_jobs_out(worker, seed, tenants):
    made = [await seed.upload(worker, tenant) for tenant in tenants for _ in range(CREDITS)]
    records = [one.dispatch() for one in made]
    groups = await asyncio.gather(
        *(claim_all(worker, order, owner) for order, owner in ((records, "a"), (records[::-1], "b")) for _ in range(4))
    )
    claimed = [one.job_id for group in groups for one in group if isinstance(one, ClaimedJob)]
    assert sorted(claimed) == sorted(one.job_id for one in made)


async def test_who_lost_its_lease_is_left_out_and_the_others_end(worker, seed, tenants):
    made = [await seed.upload(worker, tenant) for tenant in tenants for _ in range(2)]
    held = await claim_all(worker, [one.dispatch() for one in made])
    for job, one in zip(held, made, strict=True):
        await join(worker, job, sha_of(one))
    await seed.change(worker, "UPDATE jobs SET epoch = epoch + 1 WHERE id = :j", j=made[1].job_id)
    ends = [end_of(job, one) for job, one in zip(held, made, strict=True)]
    assert await end_all(worker, ends) == [True, False, True, True]
    assert sorted(await states(worker, seed, made)) == ["done", "done", "done", "running"]
    for one, job in zip(made, held, strict=True):
        ended = ["job.started"] if one is made[1] else ["job.started", "job.done", "asset.ready"]
        assert await timeline(worker, seed, one) == ended
        row = "SELECT state || coalesce(details->>'format', '') FROM content WHERE leader_job_id = :j"
        content = "open" if one is made[1] else f"done{str(one.asset_id)[:8]}"
        assert await seed.column(worker, row, j=job.job_id) == [content]
    assert await end_all(worker, ends) == [False] * 4, "it ended once"


async def test_what_leaves_together_lets_as_many_in(worker, seed, tenants):
    made = {tenant: [await seed.upload(worker, tenant) for _ in range(CREDITS + 4)] for tenant in tenants}
    first = [one for tenant in tenants for one in made[tenant][:2]]
    held = await claim_all(worker, [one.dispatch() for one in first])
    ends = [end_of(job, one) for job, one in zip(held, first, strict=True)]
    assert await end_all(worker, ends) == [True] * 4
    for tenant in tenants:
        rest = made[tenant][2:]
        queued = "SELECT id FROM jobs WHERE tenant_id = :t AND state = 'queued' ORDER BY id"
        assert await seed.column(worker, queued, t=tenant) == sorted(one.job_id for one in rest[:CREDITS])


async def test_ends_of_one_asset_number_its_events_in_turn(worker, seed, tenants):
    made = await seed.upload(worker, tenants[0])
    [job] = await claim_all(worker, [made.dispatch()])
    assert await end_all(worker, [end_of(job, made, follow=(Stage.IMAGE_AVIF,))]) == [True]
    second = await seed.upload(worker, tenants[0])
    move = "UPDATE jobs SET asset_id = :a, stage = 'video.ladder', topic = 'jobs.video' WHERE id = :j"
    await seed.change(worker, move, a=made.asset_id, j=second.job_id)
    rows = "SELECT id FROM jobs WHERE asset_id = :a AND state = 'queued' ORDER BY id"
    follow = await seed.column(worker, rows, a=made.asset_id)
    records = [second._replace(job_id=job_id).dispatch() for job_id in follow]
    held = await claim_all(worker, records)
    assert len(held) == 2
    variants = [
        NewVariant(
            profile=f"p{number}", profile_version=1, content_sha256=sha_of(made), object_key=f"media/{number}",
            content_type="image/avif", format="avif", width=4, height=3, duration_s=None, size=9, sha256=bytes(32),
        )
        for number in range(2)
    ]  # fmt: skip
    ends = [
        Finish(job=one, sha256=sha_of(made), report={}, traceparent=None, variants=(variant,))
        for one, variant in zip(held, variants, strict=True)
    ]
    assert await end_all(worker, ends) == [True, True]
    seqs = await seed.column(worker, "SELECT seq FROM asset_events WHERE asset_id = :a ORDER BY seq", a=made.asset_id)
    assert seqs == list(range(1, len(seqs) + 1))
    assert (await timeline(worker, seed, made))[-4:] == ["variant.ready", "job.done"] * 2
