"""Who waits how long in a lane of the round robin, when jobs cost what they like and newcomers never end."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.ledger import Entry, Partition
from streams.core.queues import Item
from streams.core.roundrobin import DeficitRoundRobin
from streams.core.watermark import Ticket

HERE = Partition("jobs", 0)


class Kind(NamedTuple):
    """A tenant with a backlog, or (`visits`) always another one that has a single job.

    Its jobs cost so much, those after its first `until` as much as `later`.
    """

    again: bool
    visits: bool
    cost: float
    later: float = 0.0
    until: int | None = None


class Scene:
    """A lane with tenants of some kinds, of which each always has something there, and how long who waits has waited."""

    def __init__(self, kinds, *, slots=1):
        self.kinds = kinds
        self.slots = slots
        self.queue = DeficitRoundRobin()
        self.running = []
        self.number = 0
        self.left = None  # the kind of which there is one less
        self.kind_of = {}
        self.waited = {}  # CPU seconds of others
        self.served = Counter()
        for place, kind in enumerate(kinds):
            for _ in range(1 if kind.visits else 4):
                self.push(place)

    def push(self, place):
        self.number += 1
        tenant = f"{place}, {self.number}" if self.kinds[place].visits else str(place)
        self.kind_of[tenant] = place
        self.waited.setdefault(tenant, 0.0)
        self.queue.push(Item(Entry(HERE, 1, Ticket(0, self.number)), tenant, self.number, self.kinds[place].again))

    def cost(self, place):
        kind = self.kinds[place]
        return kind.cost if kind.until is None or self.served[place] < kind.until else kind.later

    def start(self, what="job", ending=0):
        """Start the next: a job, or nothing (a stale record), or it is put back. What ends when all slots are taken?"""
        if len(self.running) == self.slots:
            self.queue.settle(*self.running.pop(min(ending, self.slots - 1)))
        if self.left is not None:
            self.push(self.left)
            self.left = None
        found = self.queue.pop()
        if what == "back":
            self.queue.put_back(found)
            return
        place = self.kind_of[found.tenant]
        cost = self.cost(place) if what == "job" else 0.0
        self.running.append((found.tenant, cost))
        self.served[place] += 1
        self.left = place
        self.waited.pop(found.tenant)
        for tenant in self.waited:
            self.waited[tenant] += cost
        if not self.kinds[place].visits:
            self.waited[found.tenant] = 0.0


COSTS = st.sampled_from([0.05, 0.1, 0.5, 1.0, 5.0])
STEADY = st.builds(Kind, again=st.booleans(), visits=st.booleans(), cost=COSTS, later=st.just(0.0), until=st.none())
CHANGING = st.builds(
    Kind, again=st.booleans(), visits=st.booleans(), cost=COSTS, later=COSTS, until=st.sampled_from([1, 5, 50])
)
TROUBLES = st.sampled_from([["job"], ["job"] * 8 + ["back", "nothing"]])


@settings(max_examples=100, deadline=None)
@given(
    kinds=st.lists(STEADY | CHANGING, min_size=2, max_size=6),
    slots=st.integers(1, 3),
    troubles=TROUBLES,
    random=st.randoms(use_true_random=False),
)
def test_nobody_waits_for_more_than_some_of_the_longest_jobs_of_each_other_tenant(kinds, slots, troubles, random):
    """Whatever jobs cost and come to cost, whoever's were all offered before, and whatever of them comes to nothing."""
    scene = Scene(kinds, slots=slots)
    # 1: what a first job is taken for, before any has ended
    longest = max(1.0, *(kind.cost for kind in kinds), *(kind.later for kind in kinds))
    for _ in range(400):
        scene.start(random.choice(troubles), random.randrange(3))
        assert max(scene.waited.values()) <= 10 * len(kinds) * longest


@pytest.mark.parametrize("clips", [0, 50, 1000])
@pytest.mark.parametrize("film_s", [60.0, 600.0])
@pytest.mark.parametrize("gone", [False, True])
def test_what_films_have_cost_is_no_credit_for_clips(film_s, clips, gone):
    """Some films, the last of which may run still; then three tenants that start so many clips, then a fourth."""
    scene = Scene([Kind(again=False, visits=True, cost=film_s)])
    for _ in range(10):
        scene.start()
    scene.left = None
    if gone:
        scene.queue.settle(*scene.running.pop())
    scene.kinds = [Kind(again=False, visits=False, cost=5.0)] * 4
    for place in (0, 1, 2, 0, 1, 2):
        scene.push(place)
    for _ in range(clips):
        scene.start()
    scene.push(3)
    scene.push(3)
    for _ in range(1500):
        scene.start()
        assert max(scene.waited.values()) <= 2 * 4 * 5.0


@pytest.mark.parametrize("again", [False, True])
def test_those_that_take_turns_leave_out_nobody(again):
    """Two kinds that take turns with each other, each of them once more with newcomers: there is a fourth."""
    others = Kind(again=not again, visits=False, cost=0.1), Kind(again=again, visits=True, cost=1.0)
    fourth = Kind(again=again, visits=False, cost=0.1)
    scene = Scene([others[0], fourth, others[1]])
    for _ in range(400):
        scene.start()
    assert scene.served[1] >= 400 / 5


def test_who_left_in_debt_takes_nothing_from_those_that_are_here():
    """Newcomers that cost more than they were taken for, all of whom owe something when they leave."""
    here = Kind(again=True, visits=False, cost=1.0), Kind(again=True, visits=False, cost=0.05)
    scene = Scene([here[0], Kind(again=False, visits=True, cost=1.0), here[1]])
    for _ in range(400):
        scene.start()
    assert scene.served[0] >= 400 / 10
