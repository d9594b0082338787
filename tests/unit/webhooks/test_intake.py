"""The books between Kafka and the agent."""

import asyncio
import json
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from connectors.telemetry import Metrics
from schemas.errors import ErrorCode, MedialaneError
from streams.core.ledger import Partition
from streams.faust_app import Record
from streams.intake_gauges import IntakeGauges
from streams.webhooks import intake as module
from streams.webhooks.intake import Intake

KEY = Partition("media.events", 0)


class Agent:
    """What the intake needs of an agent; the real one is in the integration tests."""

    def __init__(self):
        self.offers = []

    def offer(self, event, *, durable, broken):
        self.offers.append((event, durable, broken))

    async def stop_intake(self):
        pass


class Flow:
    def __init__(self):
        self.calls = []

    def on_buffer_full(self, tp):
        self.calls.append(("full", tp))

    def on_buffer_drop(self, tp):
        self.calls.append(("room", tp))


class World:
    def __init__(self):
        self.agent, self.flow, self.buried, self.refusals = Agent(), Flow(), [], 0
        self.refusal = MedialaneError(ErrorCode.BROKER_UNAVAILABLE)
        self.metrics = Metrics(CollectorRegistry(), process="webhooks")
        self.intake = Intake(self.agent, self.bury, lambda: self.flow, self.metrics)
        self.intake.assign([KEY])

    async def bury(self, record, reason):
        if self.refusals:
            self.refusals -= 1
            raise self.refusal
        self.buried.append((record.offset, reason))

    def read(self, offset, value=None, key=KEY):
        fields = {"type": "asset.ready", "id": str(uuid4()), "time": "2030-01-01T00:00:00Z", "tenant_id": str(uuid4())}
        good = json.dumps(fields | {"asset_id": str(uuid4()), "seq": 1}).encode()
        self.intake.receive(Record(key, offset, b"k", good if value is None else value, (), 0.0))

    async def reaches(self, offset):
        async with asyncio.timeout(5):
            while self.position != offset:  # noqa: ASYNC110 - the books tell nobody
                await asyncio.sleep(0)

    @property
    def position(self):
        return self.intake.positions().get(KEY)


@pytest.fixture
def world():
    return World()


def test_an_offset_moves_when_everything_before_it_is_durable(world):
    for offset in (5, 6, 9):
        world.read(offset)
    assert world.position == 5
    world.agent.offers[1][1]()
    assert world.position == 5
    world.agent.offers[0][1]()
    assert world.position == 9
    world.agent.offers[2][1]()
    assert world.position == 10


@pytest.mark.parametrize(
    "refusal", [MedialaneError(ErrorCode.BROKER_UNAVAILABLE), MedialaneError(ErrorCode.INTERNAL), ValueError("defect")]
)
async def test_what_is_no_event_holds_its_offset_until_it_is_buried(world, monkeypatch, refusal):
    held, again = asyncio.Event(), asyncio.Event()

    async def pause(_failures, **_more):
        held.set()
        await again.wait()

    monkeypatch.setattr(module, "pause", pause)
    world.refusal, world.refusals = refusal, 1
    world.read(0, b"junk")
    world.read(1)
    world.agent.offers[0][1]()
    assert world.position == 0
    async with asyncio.timeout(5):
        await held.wait()
    assert world.position == 0
    assert world.intake.problems() == []
    monkeypatch.setattr(module, "_LASTING_S", -1.0)
    assert "a dead letter has waited" in world.intake.problems()[0]
    again.set()
    await world.reaches(2)
    await asyncio.sleep(0)  # the task's end is known a turn later
    assert world.intake.problems() == []
    assert world.buried[0][0] == 0
    assert 'media_dlq_messages_total{reason="undecodable_record",topic="events"} 1.0' in world.metrics.render().decode()


async def test_an_event_that_breaks_the_agent_is_buried_too(world):
    world.read(0)
    world.agent.offers[0][2](ValueError("defect"))
    await world.reaches(1)
    assert world.buried == [(0, "ValueError: defect")]


def test_a_partition_that_fills_up_is_not_fetched_from_until_it_has_room(world):
    for offset in range(2100):
        world.read(offset)
    assert world.flow.calls == [("full", KEY)]
    for _, durable, _ in world.agent.offers[:1599]:
        durable()
    assert world.flow.calls == [("full", KEY)]
    world.agent.offers[1599][1]()
    assert world.flow.calls == [("full", KEY), ("room", KEY)]


def test_many_partitions_share_what_is_held_in_memory(world):
    keys = [Partition("media.events", number) for number in range(256)]
    world.intake.assign(keys)
    for offset in range(300):
        world.read(offset)
        world.read(offset, key=keys[1])
    assert world.flow.calls == [("full", keys[0]), ("full", keys[1])]
    for _, durable, _ in world.agent.offers[: 2 * 269]:
        durable()
    assert world.flow.calls[2:] == [("room", keys[0]), ("room", keys[1])]
    world.intake.assign(keys[:1])
    for offset in range(300):
        world.read(offset)
    assert len(world.flow.calls) == 4, "one alone has more room"


async def test_records_that_are_no_events_are_buried_a_few_at_once(world, monkeypatch):
    open_now, most, go = 0, 0, asyncio.Event()

    async def bury(record, reason):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await go.wait()
        open_now -= 1

    world.intake._bury = bury
    for offset in range(50):
        world.read(offset, b"junk")
    for _ in range(10):  # turns of the loop, in which every task has begun
        await asyncio.sleep(0)
    assert most == 2
    monkeypatch.setattr(module, "_LASTING_S", -1.0)
    assert world.intake.problems() == [], "to wait for its turn is no failure"
    go.set()
    await world.reaches(50)
    assert most == 2


async def test_a_record_that_cannot_be_buried_does_not_keep_others_from_it(world, monkeypatch):
    async def pause(_failures, **_more):
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "pause", pause)
    world.refusal, world.refusals = ValueError("defect"), 3
    for offset in range(4):
        world.read(offset, b"junk")
    async with asyncio.timeout(5):
        while not world.buried:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
    assert [offset for offset, _ in world.buried] == [3]
    monkeypatch.setattr(module, "_LAST_BURIALS_S", 0.0)
    await world.intake.close()


def test_what_was_taken_in_under_an_older_assignment_has_no_say(world):
    world.read(0)
    world.intake.revoke([KEY])
    world.intake.assign([KEY])
    world.read(0)
    world.agent.offers[0][1]()
    assert world.position == 0
    world.agent.offers[1][1]()
    assert world.position == 1


async def test_after_close_nothing_is_taken_in(world):
    await world.intake.close()
    world.read(0)
    assert not world.agent.offers
    assert world.position is None


def test_gauges_show_the_books_and_forget_what_is_revoked(world):
    gauges = IntakeGauges(world.metrics, world.intake.ledger, lambda key: 12)
    world.read(4)
    gauges.update()
    shown = world.metrics.render().decode()
    assert 'media_consumer_lag_records{partition="0",topic="media.events"} 8.0' in shown
    assert 'media_lane_queued{partition="0",topic="media.events"} 1.0' in shown
    world.intake.revoke([KEY])
    gauges.update()
    assert "media_consumer_lag_records{" not in world.metrics.render().decode()


def test_a_turn_of_the_gauges_walks_over_the_books_once(world):
    keys = [Partition("media.events", number) for number in range(64)]
    world.intake.assign(keys)
    walks, ledger = [], world.intake.ledger
    positions = ledger.positions
    ledger.positions = lambda: walks.append(1) or positions()
    IntakeGauges(world.metrics, ledger, lambda key: 12).update()
    assert len(walks) == 1
