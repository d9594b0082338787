"""Following an asset: streams without a gap, reads that wait; with and without Kafka."""

import asyncio
import json
from functools import partial
from uuid import UUID

import pytest
from support import api
from support import stack as shared

from connectors.postgres import outbox
from schemas.events import AssetReopened

BOUND_S = 120


async def events_of(response, count):
    """The first events of a stream, as (id, type, data)."""
    found, event = [], {}
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            event[name] = value
        elif "data" in event:
            found.append((int(event["id"]), event["event"], json.loads(event["data"])))
            event = {}
            if len(found) == count:
                return found
        else:
            event = {}
    return found


def stream(caller, asset_id, **headers):
    address = f"{caller.base}/api/v1/assets/{asset_id}/events"
    return caller.session.get(address, headers={"Authorization": f"Bearer {caller.key}"} | headers)


async def emit(operator, asset_id, count=1):
    """Events as a worker would write them, each in a transaction of its own."""
    asset_id = UUID(asset_id)
    for _ in range(count):
        async with operator.database.transaction() as connection:
            await connection.execute(
                outbox.sa.text("UPDATE assets SET generation = generation + 1 WHERE id = :id"), {"id": asset_id}
            )
            await outbox.emit(connection, asset_id, [partial(AssetReopened, reason="test")], traceparent=None)


async def test_a_stream_begins_with_what_was_and_goes_on_with_what_is(caller, operator):
    asset_id = (await caller.presign())["assetId"]
    async with stream(caller, asset_id) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert [event[:2] for event in await events_of(response, 1)] == [(1, "asset.created")]
        await emit(operator, asset_id, 3)
        assert [event[0] for event in await events_of(response, 3)] == [2, 3, 4]


async def test_a_reader_that_comes_again_misses_nothing_and_hears_nothing_twice(caller, operator):
    asset_id = (await caller.presign())["assetId"]
    await emit(operator, asset_id, 4)
    async with stream(caller, asset_id, **{"Last-Event-ID": "2"}) as response:
        found = await events_of(response, 3)
    assert [event[0] for event in found] == [3, 4, 5]
    assert all(data["seq"] == seq and data["asset_id"] == asset_id for seq, _, data in found)


async def test_numbers_that_an_operator_left_out_hold_nobody_up(caller, operator):
    asset_id = (await caller.presign())["assetId"]
    async with stream(caller, asset_id) as response:
        assert [event[0] for event in await events_of(response, 1)] == [1]
        async with operator.database.transaction() as connection:
            raised = outbox.sa.text("UPDATE assets SET event_seq = event_seq + 1000 WHERE id = :id")
            await connection.execute(raised, {"id": UUID(asset_id)})
        await emit(operator, asset_id, 2)
        assert [event[0] for event in await events_of(response, 2)] == [1002, 1003]


@pytest.mark.parametrize("value", ["-1", "x", str(1 << 64)])
async def test_a_last_event_that_is_none_is_refused(caller, value):
    asset_id = (await caller.presign())["assetId"]
    async with stream(caller, asset_id, **{"Last-Event-ID": value}) as response:
        assert (response.status, (await response.json())["field"]) == (400, "Last-Event-ID")


async def test_a_read_that_waits_answers_at_the_end(caller, operator):
    asset_id = await caller.upload()
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    waiting = asyncio.create_task(caller.call("GET", f"/api/v1/assets/{asset_id}?wait=60s"))
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}?wait=0.2")
    assert (status, answer["data"]["state"], waiting.done()) == (200, "uploaded", False)
    await operator.rows("UPDATE assets SET state = 'ready' WHERE id = :id RETURNING id", id=asset_id)
    async with asyncio.timeout(30):  # half of what it may wait
        status, answer, _ = await waiting
    assert (status, answer["data"]["state"]) == (200, "ready")


async def test_a_read_that_waits_for_all_answers_when_later_stages_have_ended_too(caller, operator):
    asset_id = await caller.upload()
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    address = f"/api/v1/assets/{asset_id}?until=settled&wait"
    waiting = asyncio.create_task(caller.call("GET", f"{address}=60s"))
    await operator.rows("UPDATE assets SET state = 'ready' WHERE id = :id RETURNING id", id=asset_id)
    status, answer, _ = await caller.call("GET", f"{address}=0.2")
    assert (status, answer["data"]["jobs"][0]["state"], waiting.done()) == (200, "queued", False)
    await operator.rows("UPDATE jobs SET state = 'done' WHERE asset_id = :id RETURNING id", id=asset_id)
    async with asyncio.timeout(30):  # half of what it may wait
        status, answer, _ = await waiting
    assert (status, answer["data"]["jobs"][0]["state"]) == (200, "done")
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}?until=never&wait=1")
    assert (status, answer["field"]) == (400, "until")


@pytest.mark.parametrize("value", ["x", "-1", "100", "1m", "", "5s%0A"])
async def test_a_wait_that_is_none_is_refused(caller, value):
    asset_id = (await caller.presign())["assetId"]
    status, answer, _ = await caller.call("GET", f"/api/v1/assets/{asset_id}?wait={value}")
    assert (status, answer["field"]) == (400, "wait")


async def test_a_stream_does_not_hold_the_process(env, new_caller):
    with api.running(env) as started:
        caller = await new_caller(started.address)
        asset_id = (await caller.presign())["assetId"]
        async with stream(caller, asset_id) as response:
            await events_of(response, 1)
            started.terminate()
            assert await events_of(response, 1) == []
        assert await asyncio.to_thread(started.wait) == 0


@pytest.mark.stack
async def test_over_kafka_every_event_comes_once_in_order(stack_api, operator, session):
    caller = await stack_api()
    await until_kafka_is_heard(caller, operator)
    asset_id = (await caller.presign())["assetId"]
    readers = 4

    async def read():
        async with stream(caller, asset_id) as response:
            return [event[0] for event in await events_of(response, 41)]

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        reading = [group.create_task(read()) for _ in range(readers)]
        group.create_task(emit(operator, asset_id, 40))
    assert {tuple(task.result()) for task in reading} == {tuple(range(1, 42))}


async def until_kafka_is_heard(caller, operator):
    """A reader of the API below is told of what happens by nobody else."""
    asset_id = (await caller.presign())["assetId"]
    async with asyncio.timeout(BOUND_S), stream(caller, asset_id) as response:
        reading = asyncio.create_task(events_of(response, 2))
        while not reading.done():
            await emit(operator, asset_id)
            await asyncio.wait({reading}, timeout=0.5)
    await reading


@pytest.fixture
async def stack_api(stack, kafka, database, bucket, operator, session, monkeypatch):
    """Callers of an API whose streams look at the database once and hear all else from Kafka, from a connector on this
    module's outbox.
    """
    names = ("api.live.hub.LOOK_AGAIN_S", "api.live.hub.LOOK_WITHOUT_KAFKA_S", "api.live.service._HEARTBEAT_S")
    slow = "; ".join(f"{name} = {2 * BOUND_S}" for name in names)
    monkeypatch.setattr(api, "_RUN", f"import api.live.hub, api.live.service; {slow}; {api._RUN}")
    change = {"MEDIALANE_KAFKA_BROKERS": kafka.brokers, "MEDIALANE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix}
    async with shared.outbox_connector(stack, database, kafka):
        with api.running(api.environment(database, bucket, **change)) as started:

            async def make():
                tenant = await operator.tenant()
                return api.Caller(started.address, tenant.id, (await operator.key(tenant.id)).text, session)

            yield make
