"""What processes hold of a plan that others may have: when it changes, when what is used is counted anew, and when
somebody only asks.
"""

import asyncio

import pytest
import sqlalchemy as sa
from support.locks import until_waited_for
from support.principals import principal

from api.limits.quotas import Quotas
from api.limits.rates import RateLimiter
from connectors.postgres.accounts.plans import Plan, assign_plan, put_plan
from connectors.postgres.accounts.tenants import allow_origins
from connectors.postgres.assets.lifecycle import NewAsset, create_assets
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.states import MediaKind


class Scene:
    """A tenant on a plan, and what it does by the quotas of several processes."""

    def __init__(self, app, operator, tenant):
        self.app, self.operator, self.tenant = app, operator, tenant
        self.plan = f"p-{uuid7().hex[-12:]}"

    async def put(self, **limits):
        """Set the plan, as an operator does; returns a caller who is known to be on it."""
        plan = Plan(name=self.plan, **limits)
        async with self.operator.database.transaction() as connection:
            await put_plan(connection, plan)
        return self.on(plan)

    async def assign(self):
        async with self.operator.database.transaction() as connection:
            await assign_plan(connection, self.tenant.slug, self.plan)

    def on(self, plan):
        return principal(tenant_id=self.tenant.id, slug=self.tenant.slug, plan=plan)

    async def upload(self, quotas, who):
        """Announce one asset; whether there was room."""
        now = await self.operator.rows("SELECT now()")
        asset = NewAsset(
            id=uuid7(), kind=MediaKind.IMAGE, file_name="a.jpg", content_type="image/jpeg", size=10,
            object_key=f"uploads/{uuid7()}", upload_expires_at=now[0]["now"],
        )  # fmt: skip
        try:
            async with quotas.taken(who, asset.size), self.app.tenant(self.tenant.id) as connection:
                await create_assets(connection, self.tenant.id, [asset])
        except MedialaneError as error:
            assert error.code is ErrorCode.QUOTA_EXCEEDED
            return False
        return True

    async def fill(self, quotas, who):
        """How many more there is room for."""
        count = 0
        while await self.upload(quotas, who):
            count += 1
        return count

    async def used(self):
        (row,) = await self.operator.rows("SELECT assets FROM allowances WHERE tenant_id = :id", id=self.tenant.id)
        return row["assets"]

    async def made(self):
        return len(await self.operator.rows("SELECT FROM assets WHERE tenant_id = :id", id=self.tenant.id))


@pytest.fixture
async def scene(app, operator):
    made = Scene(app, operator, await operator.tenant())
    await made.put(max_assets=80)
    await made.assign()
    return made


async def test_a_lowered_plan_binds_what_is_held_already(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(quotas, who)
    assert await scene.used() > 3, "it holds more than the new plan allows"
    lowered = await scene.put(max_assets=3)
    assert await scene.fill(quotas, lowered) == 2
    assert await scene.made() == 3


async def test_what_is_held_under_another_plan_is_given_back_if_it_is_counted(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(quotas, who)
    assert await scene.used() > 1
    # Remembered from before: it has taken nothing of the room that was leased in its name since.
    assert await scene.upload(quotas, scene.on(Plan(name="free")))
    assert await scene.used() == 1


@pytest.mark.parametrize("ordered", ["plan set", "tenant plan"])
async def test_after_a_count_what_was_held_before_it_is_neither_used_nor_given_back(app, scene, ordered):
    one, two = Quotas(app), Quotas(app)
    who = await scene.put(max_assets=80)
    for quotas in (one, two):
        assert await scene.upload(quotas, who)
    await (scene.put(max_assets=80) if ordered == "plan set" else scene.assign())
    third = Quotas(app)
    assert await scene.upload(third, who)
    counted = await scene.used()
    await one.close()
    assert await scene.used() == counted
    await third.close()
    assert await scene.used() == await scene.made() == 3
    await two.close()
    assert await scene.used() == 3
    assert await scene.fill(Quotas(app), who) == 77


async def test_what_is_leased_after_a_count_takes_nothing_along_from_before(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_bytes=2 << 30)
    assert await scene.upload(quotas, who)
    await scene.assign()
    leasing = scene.on(who.plan)
    async with quotas.taken(leasing, 1 << 30):
        pass
    await quotas.close()
    # The first asset was counted; the one that was only announced holds its room, as if it were there.
    (row,) = await scene.operator.rows("SELECT bytes FROM allowances WHERE tenant_id = :id", id=scene.tenant.id)
    assert row["bytes"] == 10 + (1 << 30)


async def test_what_is_held_outlives_other_writes_of_the_tenants_row_and_its_plans(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(quotas, who)
    assert await scene.used() > 1
    async with scene.operator.database.transaction() as connection:
        await allow_origins(connection, scene.tenant.slug, ["https://app.example"])
        await connection.execute(sa.text("UPDATE plans SET name = name WHERE name = :plan"), {"plan": scene.plan})
    await quotas.close()
    assert await scene.used() == await scene.made() == 1


async def test_what_is_leased_by_a_count_that_it_waited_for_is_given_back(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(Quotas(app), who)
    async with scene.operator.database.transaction() as connection:
        await assign_plan(connection, scene.tenant.slug, scene.plan)
        leasing = asyncio.create_task(scene.upload(quotas, who))
        await until_waited_for(connection, scene.operator.database, leasing)
    assert await leasing
    assert await scene.used() > await scene.made() == 2
    await quotas.close()
    assert await scene.used() == 2


async def test_who_asks_for_room_takes_none_and_others_find_it(app, scene):
    asking, other = Quotas(app), Quotas(app)
    who = await scene.put(max_bytes=10 << 20)
    for _ in range(2):  # while a count is ordered, and once there was one
        await asking.ask(who, 9 << 20)
    async with other.taken(who, 5 << 20):
        pass
    with pytest.raises(MedialaneError) as caught:
        await asking.ask(who, 6 << 20)
    assert caught.value.code is ErrorCode.QUOTA_EXCEEDED
    await other.ask(who, 5 << 20)  # of which it holds a part already


async def test_room_of_an_upload_that_failed_is_there_again(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=2)
    with pytest.raises(RuntimeError):
        async with quotas.taken(who, 10):
            raise RuntimeError
    assert await scene.fill(quotas, who) == 2


async def test_room_of_an_upload_that_failed_after_a_count_is_not_there_twice(app, scene):
    quotas, other = Quotas(app), Quotas(app)
    who = await scene.put(max_assets=2)
    with pytest.raises(RuntimeError):
        async with quotas.taken(who, 10):
            await scene.put(max_assets=2)
            assert await scene.upload(quotas, who)
            raise RuntimeError
    await scene.fill(quotas, who)
    await scene.fill(other, who)
    assert await scene.made() == 2


async def test_what_an_idle_tenant_holds_is_given_back_and_others_may_have_it(app, scene):
    quotas, other = Quotas(app), Quotas(app)
    who = await scene.put(max_bytes=10 << 30)
    assert await scene.upload(quotas, who)
    async with asyncio.timeout(60):
        assert await quotas.forget_idle() == 0, "it is used"
        assert await quotas.forget_idle(idle_s=0) == 1
    (row,) = await scene.operator.rows("SELECT bytes FROM allowances WHERE tenant_id = :id", id=scene.tenant.id)
    assert row["bytes"] == 10
    async with other.taken(who, (10 << 30) - 10):
        pass
    await other.close()
    assert not await scene.upload(quotas, who)


async def test_a_tenant_is_not_forgotten_while_an_upload_may_still_give_its_room_back(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=2)
    with pytest.raises(RuntimeError):
        async with quotas.taken(who, 10):
            assert await quotas.forget_idle(idle_s=0) == 0
            raise RuntimeError
    assert await scene.fill(quotas, who) == 2
    await quotas.close()
    assert await scene.used() == await scene.made() == 2


async def test_who_comes_while_room_is_given_back_finds_none_of_it_twice(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(quotas, who)

    async def come():
        async with quotas.taken(who, 10):
            pass

    async with scene.operator.database.transaction() as connection:
        await connection.execute(
            sa.text("SELECT FROM allowances WHERE tenant_id = :id FOR UPDATE"), {"id": scene.tenant.id}
        )
        forgetting = asyncio.create_task(quotas.forget_idle(idle_s=0))
        await until_waited_for(connection, scene.operator.database, forgetting)
        coming = asyncio.create_task(come())
        await asyncio.sleep(0)
    await coming
    assert await forgetting == 0, "somebody waited for it"
    await quotas.close()
    assert (await scene.used(), await scene.made()) == (2, 1)


async def test_after_a_count_an_idle_tenant_gives_nothing_back(app, scene):
    quotas = Quotas(app)
    who = await scene.put(max_assets=80)
    assert await scene.upload(quotas, who)
    await scene.put(max_assets=80)
    assert await scene.upload(Quotas(app), who)
    counted = await scene.used()
    assert await quotas.forget_idle(idle_s=0) == 1
    assert await scene.used() == counted


async def test_a_batch_that_is_refused_leaves_what_is_there_to_others(app, scene):
    one, two = RateLimiter(app), RateLimiter(app)
    who = await scene.put(requests_per_s=1, request_burst=100)
    for _ in range(5):
        await one.take(who)
    for _ in range(2):  # told by the database, and remembered
        with pytest.raises(MedialaneError) as caught:
            await one.pay(who, 100)
        assert caught.value.code is ErrorCode.RATE_LIMITED
        assert 0 < caught.value.retry_after_s <= 7, "five of them, and the request that comes again"
    assert (await two.take(who)).wait_s == 0
    assert (await one.take(who)).left > 80
    await two.pay(who, 50)
