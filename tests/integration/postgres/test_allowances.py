"""Room of a quota: what is given back, and what a count that was ordered makes of it."""

import asyncio

import pytest
from support.locks import until_waited_for

from connectors.postgres.accounts import allowances
from connectors.postgres.accounts.allowances import Lease, Space, give_back, lease_space, lease_tokens
from connectors.postgres.accounts.asset_counts import count_assets
from connectors.postgres.accounts.plans import Plan, assign_plan, put_plan
from connectors.postgres.protocol import cancel
from schemas.errors import MedialaneError

PLAN = Plan(name="three", max_assets=3, max_bytes=9)


@pytest.fixture
async def seeded(worker, seed):
    """One asset of 3 bytes, of a tenant on a plan with a quota."""
    made = await seed.asset(worker, await seed.tenant(worker))
    (slug,) = await seed.column(worker, "SELECT slug FROM tenants WHERE id = :t", t=made.tenant_id)
    async with worker.transaction() as connection:
        await put_plan(connection, PLAN)
        await assign_plan(connection, slug, PLAN.name)
    return made


async def take(worker, tenant, wanted):
    async with worker.transaction() as connection:
        return await lease_space(connection, tenant, PLAN, held=Lease(), need=wanted, block=Space())


async def used(worker, seed, tenant):
    (row,) = await seed.column(worker, "SELECT (assets, bytes)::text FROM allowances WHERE tenant_id = :t", t=tenant)
    return row


async def test_what_is_given_back_before_an_ordered_count_leaves_the_count_to_be_made(worker, seed, seeded):
    await take(worker, seeded.tenant_id, Space(1, 3))
    async with worker.transaction() as connection:
        await put_plan(connection, PLAN)
        await give_back(connection, seeded.tenant_id, Space(1, 3))
    assert await used(worker, seed, seeded.tenant_id) == "(,)"
    lease, now = await take(worker, seeded.tenant_id, Space(3, 9))
    assert (lease.space, now) == (Space(), Space(1, 3)), "there is an asset"


async def test_whoever_deletes_an_asset_gives_its_room_back_once(worker, seed, seeded):
    await take(worker, seeded.tenant_id, Space(1, 3))
    assert await used(worker, seed, seeded.tenant_id) == "(2,6)"
    async with worker.transaction() as connection:
        await cancel.delete_asset(connection, seeded.tenant_id, seeded.asset_id, actor="operator@host")
    assert await used(worker, seed, seeded.tenant_id) == "(1,3)"
    with pytest.raises(MedialaneError):
        async with worker.transaction() as connection:
            await cancel.delete_asset(connection, seeded.tenant_id, seeded.asset_id, actor="operator@host")
    assert await used(worker, seed, seeded.tenant_id) == "(1,3)"


@pytest.mark.parametrize(("tokens", "granted"), [(20.0, 5), (3.5, 3), (-90.0, 0)])
async def test_a_clock_that_stepped_back_neither_fills_nor_empties_a_bucket(worker, seed, seeded, tokens, granted):
    plan = Plan(name="rated", requests_per_s=100, request_burst=50)
    await take(worker, seeded.tenant_id, Space())  # which makes the row
    await seed.change(
        worker,
        "UPDATE allowances SET tokens = :n, refilled_at = now() + interval '1 hour' WHERE tenant_id = :t",
        n=tokens, t=seeded.tenant_id,
    )  # fmt: skip
    async with worker.transaction() as connection:
        found = await lease_tokens(connection, seeded.tenant_id, plan, 5)
    assert found == (granted, tokens - granted)
    # And from now on it fills by this clock.
    (ahead,) = await seed.column(
        worker, "SELECT refilled_at > clock_timestamp() FROM allowances WHERE tenant_id = :t", t=seeded.tenant_id
    )
    assert not ahead


@pytest.mark.parametrize("first", [True, False], ids=["first count", "ordered count"])
async def test_what_is_deleted_while_it_is_counted_is_given_back(worker, seed, seeded, monkeypatch, first):
    deleting = []
    if not first:
        await take(worker, seeded.tenant_id, Space())
        async with worker.transaction() as connection:
            await put_plan(connection, PLAN)
        assert await used(worker, seed, seeded.tenant_id) == "(,)"

    async def delete():
        async with worker.transaction() as connection:
            await cancel.delete_asset(connection, seeded.tenant_id, seeded.asset_id, actor="operator@host")

    async def count(connection, *which, **more):
        counted = await count_assets(connection, *which, **more)
        deleting.append(asyncio.create_task(delete()))
        await until_waited_for(connection, worker, deleting[0])
        return counted

    monkeypatch.setattr(allowances, "count_assets", count)
    _, now = await take(worker, seeded.tenant_id, Space(1, 3))
    await deleting[0]
    assert now == Space(2, 6)
    assert await used(worker, seed, seeded.tenant_id) == "(1,3)"


async def test_assets_are_counted_in_pages_though_many_were_made_at_once(worker, seed, seeded):
    made = [seeded, *[await seed.asset(worker, seeded.tenant_id) for _ in range(4)]]
    await seed.asset(worker, await seed.tenant(worker))
    await seed.change(worker, "UPDATE assets SET created_at = now() WHERE tenant_id = :t", t=seeded.tenant_id)
    async with worker.transaction() as connection:
        await cancel.delete_asset(connection, seeded.tenant_id, made[2].asset_id, actor="operator@host")
        for page in (1, 2, 3, 5, 9):
            assert await count_assets(connection, seeded.tenant_id, deleted=False, page=page) == (4, 12)
            assert await count_assets(connection, seeded.tenant_id, deleted=True, page=page) == (5, 15)
