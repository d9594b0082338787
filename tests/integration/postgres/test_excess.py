"""Jobs that a lane sends back: to their rows once, due again, and out of their tenant's credit while they wait."""

import pytest
from support import protocol

from connectors.postgres.protocol import credits as credit
from connectors.postgres.protocol import keeper
from connectors.postgres.protocol.excess import Excess, send_back


async def back(worker, *excess):
    async with worker.transaction() as connection:
        return await send_back(connection, excess)


async def state(worker, seed, made):
    [found] = await seed.column(
        worker, "SELECT state || coalesce(' ' || reason, '') || ' ' || dispatch FROM jobs WHERE id = :j", j=made.job_id
    )
    return found


async def claim(worker, made, number):
    async with worker.transaction() as connection:
        return await protocol.claim(connection, made.dispatch(number))


async def test_a_job_goes_back_and_comes_again_when_it_is_due(worker, seed, seeded):
    assert await back(worker, Excess(seeded.job_id, 1, 0.0)) == {seeded.job_id}
    assert await state(worker, seed, seeded) == "waiting cap 1"
    assert await claim(worker, seeded, 1) is None, "the record that was sent back is done with"
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    assert await state(worker, seed, seeded) == "queued 2"
    assert await claim(worker, seeded, 2) is not None


async def test_it_is_not_due_before_its_time(worker, seed, seeded):
    await back(worker, Excess(seeded.job_id, 1, 3600.0))
    async with worker.transaction() as connection:
        await keeper.emit_due(connection, batch=100)
        await keeper.emit_unclaimed(connection, batch=100)
    assert await state(worker, seed, seeded) == "waiting cap 1"


@pytest.mark.parametrize("number", [0, 2])
async def test_a_stale_record_changes_nothing(worker, seed, seeded, number):
    assert await back(worker, Excess(seeded.job_id, number, 1.0)) == set()
    assert await state(worker, seed, seeded) == "queued 1"


async def test_a_running_job_is_left_alone(worker, seed, seeded):
    await claim(worker, seeded, 1)
    assert await back(worker, Excess(seeded.job_id, 1, 1.0)) == set()
    assert await state(worker, seed, seeded) == "running 1"


async def test_several_go_back_at_once_each_with_its_own_delay(worker, seed):
    tenant = await seed.tenant(worker)
    made = [await seed.asset(worker, tenant) for _ in range(3)]
    await back(worker, *(Excess(one.job_id, 1, 100.0 * index) for index, one in enumerate(made)))
    statement = "SELECT round(extract(epoch FROM due_at - clock_timestamp()) / 100)::int FROM jobs WHERE id = :j"
    assert [await seed.column(worker, statement, j=one.job_id) for one in made] == [[0], [1], [2]]


async def test_no_others_are_queued_in_their_place_but_new_work_is(worker, seed):
    """Others of the same tenant would be sent back, too; so what waits for credit waits for what was sent back."""
    tenant = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 2 WHERE id = :t", t=tenant)
    made = [await seed.asset(worker, tenant) for _ in range(3)]
    await seed.change(
        worker, "UPDATE jobs SET state = 'waiting', reason = 'credit', dispatch = 0 WHERE id = :j", j=made[2].job_id
    )
    await back(worker, *(Excess(one.job_id, 1, 3600.0) for one in made[:2]))
    async with worker.transaction() as connection:
        await credit.mend(connection, batch=100)
    assert await state(worker, seed, made[2]) == "waiting credit 0"
    await seed.change(worker, "UPDATE jobs SET due_at = now() WHERE id = :j", j=made[0].job_id)
    async with worker.transaction() as connection:
        await keeper.emit_due(connection, batch=100)
        await credit.mend(connection, batch=100)
    assert await state(worker, seed, made[0]) == "queued 2"
    assert await state(worker, seed, made[2]) == "waiting credit 0"
