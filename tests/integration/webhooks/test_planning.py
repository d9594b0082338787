"""Events that are planned together, on a real database: what one of them, or one tenant, may not do to the others."""

import asyncio
import json

import pytest

from connectors.postgres.webhooks import deliveries
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from streams.webhooks.message import read_event
from streams.webhooks.planner import Planner
from streams.webhooks.slots import Slots

from .conftest import offered


def poison(world):
    """An event that no row can hold: its number is beyond Postgres's bigint."""
    fields = {"type": "asset.ready", "id": str(uuid7()), "time": "2100-01-01T00:00:00Z", "asset_id": str(uuid7())}
    return read_event(json.dumps(fields | {"tenant_id": str(world.tenant_id), "seq": 2**70}).encode(), None)


async def test_after_one_that_cannot_be_planned_the_others_are_planned_together_again(world, monkeypatch):
    await world.endpoint("http://127.0.0.1:9/", events=["asset.ready"])
    sizes, plan = [], Planner.plan

    async def watched(planner, events):
        sizes.append(len(events))
        return await plan(planner, events)

    monkeypatch.setattr(Planner, "plan", watched)
    async with world.running() as agent:
        bad = offered(agent, poison(world))
        await world.offer(agent, *(world.event(number) for number in range(1500)))
        with pytest.raises(Exception, match="out of range"):
            await bad
    assert max(sizes[sizes.index(1) :]) > 100
    assert await world.rows() == []


async def test_events_that_are_too_many_for_one_transaction_are_planned_in_smaller_ones(world, monkeypatch):
    await world.endpoint("http://127.0.0.1:9/")
    insert = deliveries.insert

    async def slow(connection, rows, **more):
        if len(rows) > 20:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "a statement timeout")
        return await insert(connection, rows, **more)

    monkeypatch.setattr(deliveries, "insert", slow)
    async with world.running(schedule_s=(600.0,)) as agent:
        await asyncio.wait_for(world.offer(agent, *(world.event(number) for number in range(100))), 60)
    assert len(await world.rows()) == 100


async def test_one_transaction_makes_a_bounded_number_of_rows(world):
    for number in range(50):
        await world.endpoint(f"http://127.0.0.1:9/{number}")
    planner = Planner(world.database, Slots(1, 1), owner="me", lease_s=10, busy=lambda _endpoint: True)
    events = [world.event(number) for number in range(120)]
    first = await planner.plan(events)
    assert len(await world.rows()) == first.made == 5000
    rest = await planner.plan(events[first.events :])
    assert (first.events + rest.events, first.made + rest.made) == (120, 6000)
