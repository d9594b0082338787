"""What an endpoint's life means for what is sent to it: registered, changed, gone, switched on, deleted."""

import asyncio
from datetime import UTC, datetime, timedelta

from aiohttp import web
from support.servers import serving

from connectors.postgres.webhooks.endpoints import change_endpoint


async def test_only_what_is_subscribed_to_and_happened_since(world, receiver):
    early = world.event(time=datetime.now(UTC) - timedelta(hours=1))
    await world.endpoint(receiver.url("created"), events=["asset.created", "asset.ready"])
    await world.endpoint(receiver.url("other"), events=["asset.ready"])
    await world.endpoint(receiver.url("all"))
    await world.endpoint(receiver.url("off"))
    await world.execute(
        "UPDATE webhook_endpoints SET enabled = false WHERE url LIKE '%%/off' AND tenant_id = %s", world.tenant_id
    )
    event = world.event()
    async with world.running() as agent:
        await world.offer(agent, early, event)
        await world.settled("delivered", "delivered")
    assert sorted(one.path for one in receiver.received) == ["all", "created"]
    assert {one.message_id for one in receiver.received} == {str(event.envelope.id)}


async def test_switched_on_an_endpoint_gets_nothing_from_before_however_late_that_comes(world, receiver):
    endpoint = await world.endpoint(receiver.url())

    async def switch(*, on):
        async with world.database.transaction() as connection:
            await change_endpoint(connection, world.tenant_id, endpoint, enabled=on)

    while_it_was_on = world.event()
    await switch(on=True)  # which it is
    async with world.running() as agent:
        await world.offer(agent, while_it_was_on)
        await world.settled("delivered")
        await switch(on=False)
        while_it_was_off = world.event()
        await switch(on=True)
        since = world.event()
        await world.offer(agent, while_it_was_off, since)
        await world.settled("delivered", "delivered")
    assert [one.message_id for one in receiver.received] == [str(one.envelope.id) for one in (while_it_was_on, since)]


async def test_gone_disables_the_endpoint_and_gives_up_what_waits_for_it(world, receiver):
    endpoint = await world.endpoint(receiver.url())
    receiver.fail_next(1, status=500)
    async with world.running(schedule_s=(0.3,)) as agent:
        await world.offer(agent, world.event(1))
        await world.settled("waiting")
        receiver.fail_next(1, status=410)
        await world.offer(agent, world.event(2))
        await world.settled("dead", "dead")
        await world.offer(agent, world.event(3))
    assert len(receiver.received) == 2
    (row,) = await world.rows("webhook_endpoints", "id")
    assert (row["id"], row["enabled"]) == (endpoint, False)
    assert "410" in row["disabled_reason"]
    assert await world.states() == ["dead", "dead"]


async def test_what_an_old_address_answers_does_not_disable_the_new_one(world, receiver):
    asked, moved = asyncio.Event(), asyncio.Event()

    async def gone(_request):
        asked.set()
        await moved.wait()
        return web.Response(status=410)

    async with serving(gone) as address:
        endpoint = await world.endpoint(address)
        async with world.running() as agent:
            await world.offer(agent, world.event(1))
            async with asyncio.timeout(90):
                await asked.wait()
            async with world.database.transaction() as connection:
                await change_endpoint(connection, world.tenant_id, endpoint, url=receiver.url())
            moved.set()
            await world.settled("dead")
            await world.offer(agent, world.event(2))
            await world.settled("dead", "delivered")
    (row,) = await world.rows("webhook_endpoints", "id")
    assert (row["enabled"], row["disabled_reason"]) == (True, None)


async def test_a_deleted_endpoint_gets_nothing_any_more(world, receiver):
    receiver.fail_next(1)
    await world.endpoint(receiver.url())
    async with world.running(schedule_s=(600.0,)) as agent:
        await world.offer(agent, world.event())
        await world.settled("waiting")
        await world.execute("UPDATE webhook_endpoints SET deleted_at = now() WHERE tenant_id = %s", world.tenant_id)
        await world.execute("UPDATE webhook_deliveries SET due_at = now() WHERE tenant_id = %s", world.tenant_id)
        await world.settled("dead")
        await world.offer(agent, world.event())
    assert len(receiver.received) == 1
