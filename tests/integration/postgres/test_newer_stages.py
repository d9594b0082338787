"""A release that is being rolled out may make jobs of stages that this one does not know: they are passed on as they are."""

import pytest

from connectors.postgres import keeper
from connectors.postgres.credits import mend, pass_on
from schemas.states import Stage

LATER = "image.of-a-later-release"


@pytest.fixture
async def newer(worker, seed):
    """A queued job of an unknown stage."""
    made = await seed.asset(worker, await seed.tenant(worker))
    await seed.change(worker, "UPDATE jobs SET stage = :stage WHERE id = :j", stage=LATER, j=made.job_id)
    return made


async def state(worker, seed, made):
    [found] = await seed.column(worker, "SELECT state FROM jobs WHERE id = :j", j=made.job_id)
    return found


async def stages_sent(worker, seed, made):
    statement = "SELECT payload::json->>'stage' FROM outbox WHERE aggregateid = :j AND aggregatetype = 'jobs.image'"
    return await seed.column(worker, statement, j=str(made.job_id))


async def test_what_was_not_claimed_is_emitted_again(worker, seed, newer):
    await seed.change(worker, "UPDATE jobs SET next_emit_at = now() WHERE id = :j", j=newer.job_id)
    async with worker.transaction() as connection:
        await keeper.emit_unclaimed(connection, batch=500)
    assert await stages_sent(worker, seed, newer) == [LATER]


@pytest.mark.parametrize("how", ["a finish", "the keeper"])
async def test_credit_goes_to_it(worker, seed, newer, how):
    await seed.change(
        worker, "UPDATE jobs SET state = 'waiting', reason = 'credit' WHERE id = :j", j=newer.job_id
    )  # fmt: skip
    async with worker.transaction() as connection:
        if how == "a finish":
            await pass_on(connection, newer.tenant_id, Stage.IMAGE_PRIMARY)
        else:
            await mend(connection, batch=500)
    assert await state(worker, seed, newer) == "queued"
    assert await stages_sent(worker, seed, newer) == [LATER]


async def test_one_that_lost_its_last_worker_is_left_to_the_keeper_that_knows_it(worker, seed, newer):
    await seed.change(
        worker,
        "UPDATE jobs SET state = 'running', lease_until = now() - interval '1 hour', deaths = 2 WHERE id = :j",
        j=newer.job_id,
    )
    async with worker.transaction() as connection:
        lost = await keeper.lost_jobs(connection, batch=500, max_deaths=3, lease_s=0)
    assert newer.job_id not in {job.job_id for job in lost}
    assert await state(worker, seed, newer) == "running"
