"""When the due loop looks, whose turn it is, and what it tells of what is overdue, without a database."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from support.simulated import SimulatedLoop

from connectors.postgres.webhooks import deliveries
from connectors.postgres.webhooks.deliveries import DueEndpoint
from connectors.telemetry import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE
from streams.webhooks.due import DueLoop
from streams.webhooks.slots import Slots

ENDPOINT, OTHER = uuid4(), uuid4()
TENANT, OTHER_TENANT = uuid4(), uuid4()


class CountingSlots(Slots):
    """Counts the endpoints that are asked about."""

    asked = 0

    def take(self, endpoint, tenant):
        self.asked += 1
        return super().take(endpoint, tenant)

    def crowded_out(self, endpoint):
        self.asked += 1
        return super().crowded_out(endpoint)


def tenants(count):
    """So many endpoints, each with a tenant of its own."""
    return {uuid4(): uuid4() for _ in range(count)}


def of_one_tenant(count):
    return dict.fromkeys((uuid4() for _ in range(count)), TENANT)


def sicken(slots, endpoints):
    """The last request of each gets no answer."""
    for endpoint, tenant in endpoints.items():
        assert slots.take(endpoint, tenant)
        end(slots, endpoint, answered=False)
    return list(endpoints)


def end(slots, endpoint, *, answered):
    slots.learn(endpoint, answered=answered)
    slots.give_back(endpoint)


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
    loop._show([DueEndpoint(endpoint_id=ENDPOINT, tenant_id=TENANT, oldest_s=700.0)])
    loop.notice({ENDPOINT: TENANT})
    return oldest(loop)


def oldest(loop):
    return tuple(
        loop._metrics.gauge(spec)._value.get() for spec in (WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE)
    )


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_backlog_that_its_receiver_does_not_keep_up_with_is_told_apart_at_every_look(slots, loop, answers):
    assert look(loop) == (700.0, 0.0), "nothing is known of it yet"
    for _ in range(3):
        loop._turns.take()
        for _ in range(answers):  # between the last round and the look
            end(slots, ENDPOINT, answered=True)
        assert look(loop) == (0.0, 700.0)


def test_a_backlog_that_is_not_taken_up_is_no_receivers_doing(loop):
    loop.notice({ENDPOINT: TENANT})
    loop._turns.take()
    assert look(loop) == (0.0, 700.0)
    assert look(loop) == (700.0, 0.0)


def test_a_backlog_in_a_process_that_is_full_is_no_receivers_doing(slots, loop):
    while slots.take(uuid4(), uuid4()):
        pass
    look(loop)
    loop._turns.take()
    assert look(loop) == (700.0, 0.0)


def test_what_a_slot_that_comes_back_costs_does_not_grow_with_the_endpoints_that_are_sick():
    slots = CountingSlots(8, 2)
    loop, endpoints = due_loop(slots), tenants(2000)
    sick = sicken(slots, endpoints)
    loop.notice(endpoints)
    assert list(loop._turns.take()) == sick[:4], "half of the process"
    for turn in range(4, 20):
        slots.asked = 0
        end(slots, sick[turn - 4], answered=False)
        assert list(loop._turns.take()) == [sick[turn]], "each in its turn"
        assert slots.asked < 20
    assert all(map(loop.busy, sick))


def test_nobody_is_asked_about_while_no_slot_is_free():
    slots = CountingSlots(8, 2)
    loop = due_loop(slots)
    while slots.take(uuid4(), uuid4()):
        pass
    loop.notice(tenants(2000))
    slots.asked = 0
    assert not loop._turns.take()
    assert slots.asked == 0


def test_sick_endpoints_and_those_that_answer_take_turns():
    slots = Slots(8, 2)
    loop, endpoints, others = due_loop(slots), tenants(6), tenants(6)
    sick, well = sicken(slots, endpoints), list(others)
    loop.notice(endpoints | others)
    assert list(loop._turns.take()) == sick[:4] + well[:4]
    end(slots, sick[0], answered=True)
    end(slots, well[0], answered=True)
    assert list(loop._turns.take()) == [sick[4], well[4]]
    end(slots, well[1], answered=False)
    assert list(loop._turns.take()) == [well[5]]
    for endpoint in sick[1:4]:
        end(slots, endpoint, answered=True)
    assert list(loop._turns.take()) == [sick[5], sick[0], sick[1]], "who waited longest"


def test_a_tenants_turn_comes_as_often_with_one_endpoint_as_with_fifty():
    slots = Slots(8, 2)
    loop, many = due_loop(slots), of_one_tenant(50)
    loop.notice(many | {OTHER: OTHER_TENANT})
    taken = loop._turns.take()
    assert (taken[OTHER], taken.total()) == (2, 5), "each gets what the other leaves, down to one that is kept"
    turns = [endpoint for endpoint in taken if endpoint != OTHER]
    for _ in range(100):
        end(slots, turns[-3], answered=True)
        (endpoint,) = loop._turns.take()
        turns.append(endpoint)
    assert turns == [*many, *many, *many][: len(turns)], "of its endpoints each in its turn"
    end(slots, OTHER, answered=True)
    assert list(loop._turns.take()) == [OTHER]


def test_sick_endpoints_of_one_tenant_wait_beside_those_of_others_and_cost_no_more():
    slots = CountingSlots(8, 2)
    loop, many, others = due_loop(slots), of_one_tenant(50), tenants(6)
    of_one, of_others = sicken(slots, many), sicken(slots, others)
    loop.notice(many | others)
    assert list(loop._turns.take()) == [of_one[0], *of_others[:3]]
    for turn in range(3, 12):
        slots.asked = 0
        end(slots, of_others[(turn - 3) % 6], answered=False)
        assert list(loop._turns.take()) == [of_others[turn % 6]]
        assert slots.asked < 20
    end(slots, of_one[0], answered=False)
    assert list(loop._turns.take()) == [of_one[1]]


class Table:
    """Stands for the database, and counts what the looks ask it."""

    def __init__(self, monkeypatch):
        self.asked, self.since_s, self.expired = [], [], []
        for name in ("count_disabled", "expire", "due_endpoints", "newly_due"):
            monkeypatch.setattr(deliveries, name, getattr(self, name))

    @asynccontextmanager
    async def transaction(self):
        expired = []
        yield expired
        self.expired += expired

    async def count_disabled(self, _connection):
        return 0

    async def expire(self, connection, *, batch, **_more):
        connection.append(batch)
        return 0

    async def due_endpoints(self, _connection):
        self.asked.append("all")
        return [DueEndpoint(endpoint_id=ENDPOINT, tenant_id=TENANT, oldest_s=700.0)]

    async def newly_due(self, _connection, *, since_s, most):
        self.asked.append("new")
        self.since_s.append(since_s)
        return {OTHER: OTHER_TENANT}


def run_for(loop, seconds):
    """Run the due loop for so long, on a clock that skips whatever is waited for."""

    async def run():
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(seconds)
        loop.stop()
        await running

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(run())


async def no_lease(_connection, _wanted, **_more):
    return [], []


def test_every_endpoint_is_asked_about_at_first_and_now_and_then_and_what_came_due_each_time(monkeypatch, slots):
    table = Table(monkeypatch)
    monkeypatch.setattr(deliveries, "lease", no_lease)
    loop = due_loop(slots, table)
    run_for(loop, 24.5)
    assert (table.asked.count("all"), table.asked.count("new")) == (3, 25)
    assert set(table.asked[:2]) == {"all", "new"}
    assert [round(since_s) for since_s in table.since_s] == [5] + [6] * 24, "as long as it is since the one before"
    assert max(oldest(loop)) == 700.0, "no less for what is not looked at"


def test_leases_run_out_though_every_full_look_ends_at_the_time_limit(monkeypatch, slots):
    table = Table(monkeypatch)
    monkeypatch.setattr(deliveries, "lease", no_lease)

    async def too_long(_connection):
        table.asked.append("all")
        await asyncio.sleep(3.0)
        raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)

    monkeypatch.setattr(deliveries, "due_endpoints", too_long)
    run_for(due_loop(slots, table), 30.0)
    assert table.asked.count("all") >= 5
    assert max(table.expired) > 0
    assert table.asked.count("new") >= 30, "what has just come due does not wait for it either"


async def test_no_lease_waits_for_a_full_look(monkeypatch, slots):
    loop = due_loop(slots, Table(monkeypatch))
    looking, leased = asyncio.Event(), asyncio.Event()

    async def look(_connection):
        looking.set()
        await asyncio.Event().wait()

    async def lease(_connection, wanted, **_more):
        if ENDPOINT in wanted:
            leased.set()
        return [], []

    monkeypatch.setattr(deliveries, "due_endpoints", look)
    monkeypatch.setattr(deliveries, "lease", lease)
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(60):
        await looking.wait()
        loop.notice({ENDPOINT: TENANT})
        await leased.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_the_due_loop_is_not_woken_for_nothing(slots, loop):
    loop.notice({ENDPOINT: TENANT})
    slots.freed.clear()
    loop.notice({})
    assert not slots.freed.is_set()
    loop.notice({ENDPOINT: TENANT})
    assert slots.freed.is_set()
