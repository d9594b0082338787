"""Group commit on a real database: who comes together is written together, and each gets what is its own."""

import asyncio

import pytest
import sqlalchemy as sa

from connectors.postgres.group_commit import by_tenant
from schemas.errors import ErrorCode, MedialaneError

SEVEN = sa.text("SELECT 7 / CAST(:item AS int), txid_current()")


class Writes:
    """Divides seven by each item in the database, and notes which items went together."""

    def __init__(self):
        self.batches = []

    async def __call__(self, connection, _tenant, items):
        self.batches.append(list(items))
        rows = [(await connection.execute(SEVEN, {"item": item})).one() for item in items]
        return [tuple(row) for row in rows]


@pytest.fixture
async def tenant(worker, seed):
    return await seed.tenant(worker)


@pytest.fixture
def writes():
    return Writes()


@pytest.fixture
def group(worker, writes):
    return by_tenant(worker, writes)


async def test_what_comes_during_a_transaction_goes_into_the_next_together(group, writes, tenant):
    outcomes = await asyncio.gather(*(group.submit(tenant, item) for item in (1, 2, 3, 7)))
    assert [quotient for quotient, _ in outcomes] == [7, 3, 2, 1]
    assert writes.batches == [[1, 2, 3, 7]] or writes.batches == [[1], [2, 3, 7]]
    assert len({transaction for _, transaction in outcomes}) == len(writes.batches)


async def test_one_that_cannot_be_written_fails_alone(group, tenant):
    outcomes = await asyncio.gather(*(group.submit(tenant, item) for item in (1, 0, 7)), return_exceptions=True)
    assert [outcomes[0][0], outcomes[2][0]] == [7, 1]
    assert isinstance(outcomes[1], sa.exc.DBAPIError)


async def test_no_more_than_so_many_go_together_and_all_go(group, writes, tenant):
    await asyncio.gather(*(group.submit(tenant, 1) for _ in range(200)))
    assert sum(map(len, writes.batches)) == 200
    assert max(map(len, writes.batches)) <= 64


async def test_tenants_do_not_wait_for_each_other(worker, seed, tenant):
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def held(_connection, of, items):
        if of == tenant:
            entered.set()
            await go_on.wait()
        return items

    group = by_tenant(worker, held)
    slow = asyncio.create_task(group.submit(tenant, 1))
    await entered.wait()
    assert await group.submit(await seed.tenant(worker), 2) == 2
    go_on.set()
    assert await slow == 1


async def test_a_caller_who_left_harms_nobody(group, tenant):
    gone = asyncio.create_task(group.submit(tenant, 1))
    await asyncio.sleep(0)
    gone.cancel()
    quotient, _ = await group.submit(tenant, 7)
    assert quotient == 1


async def test_a_database_that_is_away_is_told_to_all_and_the_next_is_tried(worker, tenant):
    away = True

    async def write(_connection, _tenant, items):
        if away:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        return items

    group = by_tenant(worker, write)
    outcomes = await asyncio.gather(*(group.submit(tenant, item) for item in range(5)), return_exceptions=True)
    assert {outcome.code for outcome in outcomes} == {ErrorCode.DATABASE_UNAVAILABLE}
    away = False
    assert await group.submit(tenant, 3) == 3
