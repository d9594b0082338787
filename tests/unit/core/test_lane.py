"""A lane against a model of plain lists: order, bounds, and signals that match what was told before."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.core.lane import Bounds, Lane, Signal
from streams.core.ledger import Entry, Partition
from streams.core.queues import Fifo, Item
from streams.core.roundrobin import DeficitRoundRobin, Share, Shares
from streams.core.watermark import Ticket

HERE = Partition("jobs", 0)
BOUNDS = Bounds.of(running=3, window=8)


def item(offset, tenant="tenant"):
    return Item(Entry(HERE, 1, Ticket(0, offset)), tenant, offset)


class Model(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.lane = Lane(Fifo(), BOUNDS)
        self.waiting: list[int] = []
        self.running: list[int] = []
        self.paused = False
        self.full = False
        self.gap = 0
        self.next = 0

    @rule()
    def put(self):
        self.lane.put(item(self.next))
        self.waiting.append(self.next)
        self.next += 1

    @precondition(lambda self: self.waiting and len(self.running) < BOUNDS.running and not self.paused)
    @rule()
    def take(self):
        assert self.lane.ready
        taken = self.lane.take()
        assert taken.payload == self.waiting.pop(0)
        self.running.append(taken.payload)

    @precondition(lambda self: self.running)
    @rule(back=st.booleans())
    def end(self, back):
        payload = self.running.pop()
        if back:
            self.lane.put_back(item(payload))
            self.waiting.insert(0, payload)
        else:
            self.lane.finish("tenant")

    @rule()
    def toggle_pause(self):
        self.paused = not self.paused
        (self.lane.pause if self.paused else self.lane.resume)()

    @rule()
    def drop(self):
        self.lane.drop()
        self.waiting.clear()
        self.full = False

    @rule(gap=st.integers(0, BOUNDS.ahead + 4))
    def signal(self, gap):
        found = self.lane.signal(gap)
        if found is Signal.FULL:
            assert not self.full, "told to stop twice"
            assert len(self.waiting) >= BOUNDS.window / 2 or gap >= BOUNDS.ahead
        if found is Signal.ROOM:
            assert self.full, "told to go on, though nobody had stopped"
            assert len(self.waiting) <= BOUNDS.window / 4
            assert gap <= BOUNDS.ahead / 2
        if found is None and not self.full:
            assert len(self.waiting) < BOUNDS.window / 2
            assert gap < BOUNDS.ahead
        self.full = self.lane.full

    @invariant()
    def counts_agree(self):
        assert self.lane.waiting == len(self.waiting)
        assert self.lane.running == len(self.running) <= BOUNDS.running
        assert self.lane.idle == (not self.waiting and not self.running)
        assert self.lane.ready == (bool(self.waiting) and len(self.running) < BOUNDS.running and not self.paused)


TestLane = Model.TestCase
TestLane.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("window", [1, 2, 3, 8, 256])
def test_a_full_lane_that_runs_empty_always_asks_for_more(window):
    lane = Lane(Fifo(), Bounds.of(running=window, window=window))
    offset = 0
    while lane.signal(0) is not Signal.FULL:
        lane.put(item(offset))
        offset += 1
    assert lane.waiting <= window
    for _ in range(offset):
        lane.take()
    assert lane.signal(0) is Signal.ROOM


def test_two_fetches_after_full_fit_into_the_window():
    bounds = Bounds.of(running=1, window=256)
    assert bounds.window / 2 + 2 * bounds.poll <= bounds.window


def test_what_is_passed_over_goes_out_when_the_watermark_lags():
    bounds = Bounds.of(running=1, window=8)  # may run 32 ahead of its head
    lane = Lane(Fifo(), bounds)
    for offset in (0, 10, 20, 31):
        lane.put(item(offset))
    assert lane.excess(newest=31, gap=32, behind=True) == [], "it was not told to stop"
    assert lane.signal(32) is Signal.FULL
    out = lane.excess(newest=31, gap=32, behind=False)
    assert [(beyond.item.payload, beyond.position) for beyond in out] == [(0, 0), (10, 1)]
    assert lane.waiting == 2


def test_a_full_lane_that_sees_everything_keeps_it():
    lane = Lane(DeficitRoundRobin(), Bounds.of(running=1, window=8))
    for offset in range(6):
        lane.put(item(offset))
    assert lane.signal(6) is Signal.FULL
    assert lane.excess(newest=5, gap=6, behind=False) == []
    assert len(lane.excess(newest=5, gap=6, behind=True)) == 5
    assert lane.signal(1) is Signal.ROOM


@pytest.mark.parametrize("gap", [6, 20])
@pytest.mark.parametrize("weight", [1.0, 100.0])
def test_a_lane_that_is_full_of_what_may_not_start_reads_on(weight, gap):
    """Each of its tenants is at its cap and keeps one record at least: together more than leave room."""
    shares = Shares(default=Share(cap=1))
    shares.set("t0", Share(weight, cap=1))
    lane = Lane(DeficitRoundRobin(shares), Bounds.of(running=4, window=8))
    for offset in range(9):
        lane.put(item(offset, f"t{offset % 3}"))
        if offset < 3:
            lane.take()
    assert lane.signal(gap) is Signal.FULL
    assert lane.excess(newest=8, gap=gap, behind=True)
    assert lane.signal(gap) is None, "what was taken out may come back"
    assert lane.excess(newest=8, gap=gap, behind=False) == []
    assert lane.signal(gap) is None, "it has seen everything"
    assert lane.excess(newest=8, gap=gap, behind=True) == []
    assert lane.signal(gap) is Signal.ROOM
    for offset in range(9, 12):
        lane.put(item(offset, "t1"))
    assert lane.signal(gap) is Signal.FULL
    lane.put(item(12, "another"))
    lane.excess(newest=12, gap=gap, behind=True)
    assert lane.excess(newest=12, gap=gap, behind=True) == []
    assert lane.signal(gap) is None, "one of them may start"


def test_other_bounds_count_from_now_on():
    lane = Lane(Fifo(), Bounds.of(running=1, window=4))
    for offset in range(3):
        lane.put(item(offset))
    lane.take()
    assert not lane.ready
    assert lane.signal(0) is Signal.FULL
    lane.resize(Bounds.of(running=2, window=64))
    assert lane.ready
    assert lane.signal(0) is Signal.ROOM
    lane.take()
    lane.resize(Bounds.of(running=1, window=4))
    assert not lane.ready, "what runs beyond the bound ends by itself"


def test_taking_from_a_busy_lane_is_a_defect():
    lane = Lane(Fifo(), Bounds.of(running=1, window=4))
    lane.put(item(0))
    lane.put(item(1))
    lane.take()
    with pytest.raises(RuntimeError):
        lane.take()
