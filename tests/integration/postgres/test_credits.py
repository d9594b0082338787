"""Credit: a tenant's dispatches in Kafka are bounded, the rest waits its turn, and nothing is ever stranded."""

import asyncio

import pytest
from support import protocol

from connectors.postgres.protocol import credits as credit
from connectors.postgres.protocol import jobs, keeper
from schemas.ids import uuid7
from schemas.states import JobClass

CREDITS = 3


@pytest.fixture
async def tenant(worker, seed):
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = :n WHERE id = :t", n=CREDITS, t=tenant_id)
    return tenant_id


async def states(worker, seed, tenant_id):
    statement = "SELECT state || coalesce(' ' || reason, '') FROM jobs WHERE tenant_id = :t ORDER BY id"
    return await seed.column(worker, statement, t=tenant_id)


async def sent(worker, seed, job_id):
    statement = "SELECT payload::json->>'dispatch' FROM outbox WHERE aggregateid = :j AND type = 'job.dispatch'"
    return await seed.column(worker, statement, j=str(job_id))


async def claim(worker, made, number=1):
    async with worker.transaction() as connection:
        return await protocol.claim(connection, made.dispatch(number))


async def finish(worker, job):
    sha256 = uuid7().bytes * 2
    async with worker.transaction() as connection:
        await protocol.join(connection, job, sha256)
        await protocol.finish(connection, job, sha256)


async def test_what_is_over_the_credit_waits_and_is_not_in_kafka(worker, seed, tenant):
    made = [await seed.upload(worker, tenant) for _ in range(CREDITS + 2)]
    assert await states(worker, seed, tenant) == ["queued"] * CREDITS + ["waiting credit"] * 2
    assert [await sent(worker, seed, one.job_id) for one in made] == [["1"]] * CREDITS + [[]] * 2


async def end_well(worker, job):
    await finish(worker, job)


async def end_badly(worker, job):
    async with worker.transaction() as connection:
        await protocol.fail(connection, job)


async def try_later(worker, job):
    async with worker.transaction() as connection:
        await jobs.wait(connection, job, delay_s=3600, costs_attempt=True)


@pytest.mark.parametrize("leave", [end_well, end_badly, try_later])
async def test_whatever_leaves_passes_its_credit_on_in_turn(worker, seed, tenant, leave):
    made = [await seed.upload(worker, tenant) for _ in range(CREDITS)]
    yielding = await seed.upload(worker, tenant, JobClass.BULK)
    urgent = await seed.upload(worker, tenant)
    await leave(worker, await claim(worker, made[0]))
    assert await sent(worker, seed, urgent.job_id) == ["1"]
    assert await sent(worker, seed, yielding.job_id) == []
    last = await claim(worker, urgent)
    for one in (made[1], made[2]):
        assert await sent(worker, seed, yielding.job_id) == [], "others of its tenant are still at work"
        await leave(worker, await claim(worker, one))
    await leave(worker, last)
    assert await sent(worker, seed, yielding.job_id) == ["1"]


async def test_a_twin_that_parks_gives_its_credit_to_the_leader_that_waits_for_it(worker, seed, tenant):
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=tenant)
    first, twin = [await seed.upload(worker, tenant) for _ in range(2)]
    leader, sha256 = await claim(worker, first), uuid7().bytes * 2
    async with worker.transaction() as connection:
        await protocol.join(connection, leader, sha256)
        await jobs.wait(connection, leader, delay_s=0, costs_attempt=True)
    async with worker.transaction() as connection:
        await keeper.emit_due(connection, batch=10)
    assert await states(worker, seed, tenant) == ["waiting credit", "queued"]
    job = await claim(worker, twin)
    async with worker.transaction() as connection:
        await protocol.join(connection, job, sha256)
    assert await states(worker, seed, tenant) == ["queued", "waiting twin"]


async def test_work_that_yields_leaves_room_for_primary_work(worker, seed):
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 16 WHERE id = :t", t=tenant_id)
    for job_class, room in ((JobClass.BULK, 2), (JobClass.SECONDARY, 6), (JobClass.PRIMARY, 8)):
        for _ in range(room + 3):
            await seed.upload(worker, tenant_id, job_class)
        queued = "SELECT count(*) FROM jobs WHERE tenant_id = :t AND state = 'queued' AND job_class = :c"
        assert await seed.column(worker, queued, t=tenant_id, c=job_class.value) == [room]
    async with worker.transaction() as connection:
        assert await credit.mend(connection, batch=100) == 0, "each class has its share, and no more"


async def test_what_yielded_long_enough_goes_in_turn_with_primary_work(worker, seed, tenant):
    made = [await seed.upload(worker, tenant) for _ in range(CREDITS)]
    old = await seed.upload(worker, tenant, JobClass.BULK)
    await seed.change(worker, "UPDATE jobs SET turn_at = now() - interval '1 s' WHERE id = :j", j=old.job_id)
    fresh = await seed.upload(worker, tenant)
    await end_well(worker, await claim(worker, made[0]))
    assert (await sent(worker, seed, old.job_id), await sent(worker, seed, fresh.job_id)) == (["1"], [])


@pytest.fixture
async def old(worker, seed):
    """A tenant of 8 credits with 12 bulk jobs whose turn came an hour before anything else's, and nothing dispatched."""
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 8 WHERE id = :t", t=tenant_id)
    made = [await seed.upload(worker, tenant_id, JobClass.BULK) for _ in range(12)]
    await seed.change(
        worker,
        "UPDATE jobs SET state = 'waiting', reason = 'credit', next_emit_at = NULL, turn_at = now() - interval '1 h' "
        "WHERE tenant_id = :t",
        t=tenant_id,
    )
    return tenant_id, made


async def queued(worker, seed, made):
    ids = [one.job_id for one in made]
    return (await seed.column(worker, "SELECT count(*) FROM jobs WHERE id = ANY(:j) AND state = 'queued'", j=ids))[0]


async def test_old_bulk_work_leaves_fresh_uploads_their_room(worker, seed, old):
    tenant_id, bulk = old
    async with worker.transaction() as connection:
        assert await credit.mend(connection, batch=100) == 1, "an eighth"
    fresh = [await seed.upload(worker, tenant_id) for _ in range(9)]
    assert await queued(worker, seed, fresh) == 7
    for one in fresh[:2]:
        await end_well(worker, await claim(worker, one))
    assert (await queued(worker, seed, fresh), await queued(worker, seed, bulk)) == (7, 1)


async def test_old_bulk_work_goes_on_though_fresh_uploads_take_all_that_they_may(worker, seed, old):
    tenant_id, bulk = old
    fresh = [await seed.upload(worker, tenant_id) for _ in range(12)]
    assert await queued(worker, seed, fresh) == 8
    await end_well(worker, await claim(worker, fresh[0]))
    assert await queued(worker, seed, bulk) == 1, "its turn is the earlier one"
    going = "SELECT id FROM jobs WHERE tenant_id = :t AND state = 'queued' AND job_class = 'bulk'"
    for _ in range(3):
        (job_id,) = await seed.column(worker, going, t=tenant_id)
        await end_well(worker, await seed.claim(worker, next(one for one in bulk if one.job_id == job_id)))
        assert (await queued(worker, seed, fresh), await queued(worker, seed, bulk)) == (7, 1)


async def test_old_bulk_work_that_is_tried_again_takes_no_more_than_its_part(worker, seed, old):
    _, bulk = old
    await seed.change(
        worker,
        "UPDATE jobs SET reason = 'retry', due_at = now() WHERE id = ANY(:j)",
        j=[one.job_id for one in bulk],
    )
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=100) == len(bulk)
    assert await queued(worker, seed, bulk) == 1


async def test_many_bulk_jobs_do_not_hide_a_secondary_one(worker, seed):
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 8 WHERE id = :t", t=tenant_id)
    first = await seed.upload(worker, tenant_id)
    second = await seed.upload(worker, tenant_id)
    for _ in range(5):
        await seed.upload(worker, tenant_id, JobClass.BULK)
    await seed.change(
        worker,
        "UPDATE jobs SET turn_at = now() + interval '5 min' WHERE tenant_id = :t AND job_class = 'bulk'",
        t=tenant_id,
    )
    for _ in range(2):
        await seed.upload(worker, tenant_id)
    behind = await seed.upload(worker, tenant_id, JobClass.SECONDARY)
    assert await sent(worker, seed, behind.job_id) == [], "half of the credit is in use"
    await end_well(worker, await claim(worker, first))
    assert await sent(worker, seed, behind.job_id) == ["1"]
    assert await claim(worker, second) is not None


async def test_drain_keeps_the_credit(worker, seed, tenant):
    made = [await seed.upload(worker, tenant) for _ in range(CREDITS + 1)]
    job = await claim(worker, made[0])
    async with worker.transaction() as connection:
        await jobs.release(connection, job)
    assert (await states(worker, seed, tenant)).count("queued") == CREDITS


async def test_what_becomes_due_over_the_credit_waits_for_it(worker, seed, tenant):
    made = [await seed.upload(worker, tenant) for _ in range(CREDITS)]
    for one in made:
        job = await claim(worker, one)
        async with worker.transaction() as connection:
            await jobs.wait(connection, job, delay_s=0, costs_attempt=False)
    others = [await seed.upload(worker, tenant) for _ in range(CREDITS - 1)]
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == CREDITS
    now = await states(worker, seed, tenant)
    assert sorted(now) == ["queued"] * CREDITS + ["waiting credit"] * (CREDITS - 1)
    assert len(others) == CREDITS - 1


async def test_the_keeper_mends_credit_that_a_crash_left(worker, seed, tenant):
    for _ in range(CREDITS + 2):
        await seed.upload(worker, tenant)
    # A raised limit looks like credit that nobody passed on.
    await seed.change(worker, "UPDATE tenants SET credits = :n WHERE id = :t", n=CREDITS + 1, t=tenant)
    async with worker.transaction() as connection:
        assert await credit.mend(connection, batch=100) == 1
        assert await credit.mend(connection, batch=100) == 0
    assert (await states(worker, seed, tenant)).count("queued") == CREDITS + 1


async def test_many_at_once_are_all_done_in_the_end(worker, seed, tenant):
    made = await asyncio.gather(*(seed.upload(worker, tenant) for _ in range(20)))
    done, rounds = set(), 0
    while len(done) < len(made):
        rounds += 1
        assert rounds < 100, f"stranded: {await states(worker, seed, tenant)}"

        async def work(one):
            job = await claim(worker, one)
            if job is not None:
                await finish(worker, job)
                done.add(one.job_id)

        await asyncio.gather(*(work(one) for one in made))
        queued = (await states(worker, seed, tenant)).count("queued")
        assert queued <= CREDITS + 8, "a race may overshoot by as many transactions as ran at once, not more"
        if not queued and len(done) < len(made):
            async with worker.transaction() as connection:
                await credit.mend(connection, batch=100)
