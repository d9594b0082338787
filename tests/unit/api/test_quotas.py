"""Open uploads within one process: those that were let in and have no row yet count, too."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from api import limits
from api.limits import Quotas
from connectors.postgres.keys import Principal
from connectors.postgres.plans import Plan
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7


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
    monkeypatch.setattr(limits.allowances, "count_open_uploads", table.count)
    return table


def on_plan(**limits):
    return Principal(
        key_id=None, actor="t", tenant_id=uuid7(), slug="t", scopes=frozenset(), expires_at=None,
        plan=Plan(name="p", **limits),
    )  # fmt: skip


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
