"""What the due loop tells of what is overdue, without a database."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres import deliveries
from connectors.postgres.deliveries import DueEndpoint
from connectors.telemetry import Metrics
from schemas.metrics import WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE
from streams.webhooks.due import DueLoop
from streams.webhooks.slots import Slots

ENDPOINT, OTHER = uuid4(), uuid4()


class CountingSlots(Slots):
    """Counts the endpoints that are asked about."""

    asked = 0

    def take(self, endpoint):
        self.asked += 1
        return super().take(endpoint)

    def crowded_out(self, endpoint):
        self.asked += 1
        return super().crowded_out(endpoint)


def sicken(slots, count):
    """Endpoints whose last request got no answer."""
    made = [uuid4() for _ in range(count)]
    for endpoint in made:
        assert slots.take(endpoint)
        slots.give_back(endpoint, answered=False)
    return made


def due_loop(slots, database=None, interval_s=1.0):
    metrics = Metrics(CollectorRegistry(), process="webhooks")
    return DueLoop(database, slots, None, metrics, owner="agent", lease_s=10.0, interval_s=interval_s)


@pytest.fixture
def slots():
    return Slots(8, 2)


@pytest.fixture
def loop(slots):
    return due_loop(slots)


def look(loop):
    """A look that finds a backlog of one endpoint; returns the ages of the oldest due and the oldest held back."""
    loop._show([DueEndpoint(endpoint_id=ENDPOINT, oldest_s=700.0)])
    loop.notice([ENDPOINT])
    return tuple(
        loop._metrics.gauge(spec)._value.get() for spec in (WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE)
    )


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_backlog_that_its_receiver_does_not_keep_up_with_is_told_apart_at_every_look(slots, loop, answers):
    assert look(loop) == (700.0, 0.0), "nothing is known of it yet"
    for _ in range(3):
        loop._take()
        for _ in range(answers):  # between the last round and the look
            slots.give_back(ENDPOINT, answered=True)
        assert look(loop) == (0.0, 700.0)


def test_a_backlog_that_is_not_taken_up_is_no_receivers_doing(loop):
    loop.notice([ENDPOINT])
    loop._take()
    assert look(loop) == (0.0, 700.0)
    assert look(loop) == (700.0, 0.0)


def test_a_backlog_in_a_process_that_is_full_is_no_receivers_doing(slots, loop):
    while slots.take(uuid4()):
        pass
    look(loop)
    loop._take()
    assert look(loop) == (700.0, 0.0)


def test_what_a_slot_that_comes_back_costs_does_not_grow_with_the_endpoints_that_are_sick():
    slots = CountingSlots(8, 2)
    loop, sick = due_loop(slots), sicken(slots, 2000)
    loop.notice(sick)
    assert list(loop._take()) == sick[:4], "half of the process"
    for turn in range(4, 20):
        slots.asked = 0
        slots.give_back(sick[turn - 4], answered=False)
        assert list(loop._take()) == [sick[turn]], "each in its turn"
        assert slots.asked < 20
    assert all(map(loop.busy, sick))


def test_nobody_is_asked_about_while_no_slot_is_free():
    slots = CountingSlots(8, 2)
    loop = due_loop(slots)
    while slots.take(uuid4()):
        pass
    loop.notice(uuid4() for _ in range(2000))
    slots.asked = 0
    assert not loop._take()
    assert slots.asked == 0


def test_sick_endpoints_and_those_that_answer_take_turns():
    slots = Slots(8, 2)
    loop, sick, well = due_loop(slots), sicken(slots, 6), [uuid4() for _ in range(6)]
    loop.notice(sick + well)
    assert list(loop._take()) == sick[:4] + well[:4]
    slots.give_back(sick[0], answered=True)
    slots.give_back(well[0], answered=True)
    assert list(loop._take()) == [sick[4], well[4]]
    slots.give_back(well[1], answered=False)
    assert list(loop._take()) == [well[5]]
    for endpoint in sick[1:4]:
        slots.give_back(endpoint, answered=True)
    assert list(loop._take()) == [sick[5], sick[0], sick[1]], "who waited longest"


class Table:
    """Stands for the database, and counts what the looks ask it."""

    def __init__(self, monkeypatch):
        self.asked, self.since_s = [], []
        for name in ("count_disabled", "expire", "due_endpoints", "newly_due"):
            monkeypatch.setattr(deliveries, name, getattr(self, name))

    @asynccontextmanager
    async def transaction(self):
        yield

    async def count_disabled(self, _connection):
        return 0

    async def expire(self, _connection, **_more):
        return 0

    async def due_endpoints(self, _connection):
        self.asked.append("all")
        return [DueEndpoint(endpoint_id=ENDPOINT, oldest_s=700.0)]

    async def newly_due(self, _connection, *, since_s, most):
        self.asked.append("new")
        self.since_s.append(since_s)
        return [OTHER]


async def test_every_endpoint_is_asked_about_at_first_and_now_and_then_and_between_only_what_came_due(
    monkeypatch, slots
):
    table = Table(monkeypatch)
    loop = due_loop(slots, table, interval_s=600.0)
    await loop._look()
    assert (loop.busy(ENDPOINT), loop.busy(OTHER)) == (True, False)
    loop._take()
    await loop._look()
    assert loop.busy(OTHER)
    loop._looked_at -= 1000.0
    await loop._look()
    assert [since_s > least for since_s, least in zip(table.since_s, (5.0, 1005.0), strict=True)] == [True, True]
    assert loop._metrics.gauge(WEBHOOK_OLDEST_DUE_AGE)._value.get() == 700.0, "no less for what is not looked at"
    loop._next_full_look = asyncio.get_running_loop().time()
    await loop._look()
    await loop._look()
    assert table.asked == ["all", "new", "new", "all", "new"]


def test_the_due_loop_is_not_woken_for_nothing(slots, loop):
    loop.notice([ENDPOINT])
    slots.freed.clear()
    loop.notice([])
    assert not slots.freed.is_set()
    loop.notice([ENDPOINT])
    assert slots.freed.is_set()
