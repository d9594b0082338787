"""Quotas within one process: open uploads that have no row yet count, too; what is held ends with the process."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from support.principals import principal

from api.limits import quotas as module
from api.limits.quotas import Quotas
from connectors.postgres.accounts.allowances import Lease
from connectors.postgres.accounts.plans import Plan
from schemas.errors import ErrorCode, MedialaneError


class Table:
    """The open uploads, which a count finds once they were committed; every statement gives the others a turn."""

    def __init__(self):
        self.rows = 0

    @asynccontextmanager
    async def tenant(self, _tenant_id):
        await asyncio.sleep(0)
        yield self

    async def count(self, _connection, _tenant_id, *, most):
        await asyncio.sleep(0)
        return min(self.rows, most)


@pytest.fixture
def table(monkeypatch):
    table = Table()
    monkeypatch.setattr(module.allowances, "count_open_uploads", table.count)
    return table


def on_plan(**limits):
    return principal(plan=Plan(name="p", **limits))


async def is_let_in(quotas, who):
    try:
        async with quotas.taken(who, 5):
            pass
    except MedialaneError as error:
        assert error.code is ErrorCode.TOO_MANY_UPLOADS
        return False
    return True


@pytest.mark.parametrize("most", [1, 2, 20])
async def test_many_at_once_open_no_more_uploads_than_the_plan_has(table, most):
    quotas, who, all_were_told = Quotas(table), on_plan(max_uploads=most), asyncio.Event()
    told = 0

    def tell():
        nonlocal told
        told += 1
        if told == 100:
            all_were_told.set()

    async def begin():
        try:
            async with quotas.taken(who, 5):
                tell()
                await all_were_told.wait()
                table.rows += 1
        except MedialaneError as error:
            assert error.code is ErrorCode.TOO_MANY_UPLOADS
            tell()

    await asyncio.gather(*(begin() for _ in range(100)))
    assert table.rows == most


@pytest.mark.parametrize("way", ["taken", "upload"])
async def test_one_that_failed_leaves_its_place(table, way):
    quotas, who = Quotas(table), on_plan(max_uploads=1)
    with pytest.raises(RuntimeError):
        async with quotas.taken(who, 5) if way == "taken" else quotas.upload(who):
            assert not await is_let_in(quotas, who)
            raise RuntimeError
    assert await is_let_in(quotas, who)


async def test_one_that_was_let_in_again_counts_until_its_row_does(table):
    quotas, who = Quotas(table), on_plan(max_uploads=1)
    async with quotas.upload(who):
        assert not await is_let_in(quotas, who)
        table.rows += 1
    assert not await is_let_in(quotas, who)


class Rooms:
    """A database that grants a block to whoever asks, and notes what comes back; it does not answer for some."""

    def __init__(self):
        self.returned = []
        self.away = set()
        self.lost = set()

    @asynccontextmanager
    async def tenant(self, tenant_id):
        await asyncio.sleep(0)
        if tenant_id in self.away:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.")
        yield self
        if tenant_id in self.lost:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "Its answer was lost.")

    async def lease(self, _connection, _tenant_id, _plan, *, held, need, block):
        return Lease(held.space.plus(block), 1), block

    async def end(self, _connection, tenant_id, lease):
        self.returned.append((tenant_id, lease.space.assets))


@pytest.fixture
def rooms(monkeypatch):
    rooms = Rooms()
    monkeypatch.setattr(module.allowances, "lease_space", rooms.lease)
    monkeypatch.setattr(module.allowances, "end_lease", rooms.end)
    return rooms


async def holding(rooms, count):
    """Quotas that hold 99 assets more of each of so many tenants."""
    quotas, tenants = Quotas(rooms), [on_plan(max_assets=1000) for _ in range(count)]
    for who in tenants:
        async with quotas.taken(who, 5):
            pass
    return quotas, [who.tenant_id for who in tenants]


async def test_one_tenant_whose_room_cannot_be_given_back_keeps_none_of_the_others(rooms):
    quotas, tenants = await holding(rooms, 20)
    rooms.away = {tenants[0], tenants[7]}
    await quotas.close()
    assert sorted(rooms.returned) == sorted((one, 99) for one in tenants if one not in rooms.away)


async def test_what_could_not_be_given_back_is_tried_again_and_what_was_perhaps_is_not(rooms):
    quotas, tenants = await holding(rooms, 2)
    rooms.away, rooms.lost = {tenants[0]}, {tenants[1]}
    with pytest.raises(MedialaneError):
        await quotas.forget_idle(idle_s=0)
    rooms.away = set()
    with pytest.raises(MedialaneError):
        await quotas.forget_idle(idle_s=0)
    rooms.lost = set()
    await quotas.forget_idle(idle_s=0)
    assert rooms.returned == [(one, 99) for one in tenants]
