"""Slots: never more than there are, and nobody who is ready waits while others are served over and over."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.slots import PATIENCE, Slots


def alone(lanes):
    """Lanes with a tenant each."""
    return [(lane, str(lane)) for lane in lanes]


@settings(max_examples=80, deadline=None)
@given(
    total=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sets(st.tuples(st.integers(0, 3), st.sampled_from("abc"))), st.integers(0, 9))),
)
def test_never_more_than_there_are_and_the_next_goes_to_who_holds_fewest(total, steps):
    slots: Slots[int] = Slots(total)
    held: list[tuple[int, str]] = []
    passed_over: dict[int, int] = {}
    for choices, finished in steps:
        ready = dict(choices)  # one turn per lane
        if held and finished < len(held):
            slots.give_back(*held.pop(finished))
        lane = slots.deal(ready.items())
        if len(held) == total or not ready:
            assert lane is None
            continue
        assert lane in ready
        tenants = Counter(tenant for _, tenant in held)
        overdue = [key for key in ready if passed_over.get(key, 0) >= PATIENCE * len(ready)]
        passed_over = {key: passed_over.get(key, 0) + 1 for key in ready if key != lane}
        rivals = overdue or list(ready)
        assert lane in rivals
        assert tenants[ready[lane]] == min(tenants[ready[key]] for key in rivals)
        held.append((lane, ready[lane]))
        assert slots.free == total - len(held)


@settings(max_examples=60, deadline=None)
@given(lanes=st.integers(1, 6), total=st.integers(1, 4), order=st.randoms())
def test_a_lane_that_holds_nothing_is_served_within_a_round(lanes, total, order):
    """All lanes are always ready, and jobs end in any order, some never."""
    slots: Slots[int] = Slots(total)
    held: list[int] = []
    passed_over = dict.fromkeys(range(lanes), 0)
    for _ in range(lanes * 15):
        while (lane := slots.deal(alone(range(lanes)))) is not None:
            held.append(lane)
            passed_over = {key: 0 if key in held else count + 1 for key, count in passed_over.items()}
        assert max(passed_over.values()) < lanes
        ended = held.pop(order.randrange(len(held)))
        slots.give_back(ended, str(ended))


def dealt(slots, ready):
    """Who gets the slots that are free: a count by tenant. Each lane has only one tenant."""
    tenants, got = dict(ready), Counter()
    while (lane := slots.deal(ready)) is not None:
        got[tenants[lane]] += 1
    return got


def test_a_lane_of_long_jobs_does_not_starve_another():
    slots: Slots[str] = Slots(2)
    assert dealt(slots, alone(["long"])) == {"long": 2}
    slots.give_back("long", "long")
    assert slots.deal(alone(["long", "short"])) == "short"


def test_a_tenant_in_many_lanes_gets_no_more_than_one_in_one_lane():
    slots: Slots[int] = Slots(4)
    assert dealt(slots, [(0, "big"), (1, "big"), (2, "big"), (3, "small")]) == {"big": 2, "small": 2}


def test_slots_follow_weights():
    slots: Slots[int] = Slots(8, weight=lambda tenant: {"big": 3.0}.get(tenant, 1.0))
    assert dealt(slots, [(0, "big"), (1, "small")]) == {"big": 6, "small": 2}


def test_lanes_of_tenants_that_hold_nothing_take_turns():
    """A stream of short jobs in one lane does not keep another lane from its turn, though its tenant never holds two."""
    slots: Slots[str] = Slots(1)
    turns = []
    for number in range(6):
        ready = [("a", f"new {number}"), ("b", "steady")]
        lane = slots.deal(ready)
        turns.append(lane)
        slots.give_back(lane, dict(ready)[lane])
    assert turns in (["a", "b"] * 3, ["b", "a"] * 3)


def test_a_lane_whose_turn_is_a_slot_holders_is_not_passed_over_for_ever():
    """One tenant's video takes hours; behind its next one waits somebody else, while elsewhere jobs come and go."""
    slots: Slots[str] = Slots(2)
    assert slots.deal([("shared", "hours")]) == "shared"
    turns = []
    for number in range(40):
        ready = [("busy", f"new {number}"), ("shared", "hours")]
        turns.append(slots.deal(ready))
        slots.give_back(turns[-1], dict(ready)[turns[-1]])
    assert [place for place, lane in enumerate(turns) if lane == "shared"] == [2 * PATIENCE, 4 * PATIENCE + 1]


def test_giving_back_what_was_not_held_is_a_defect():
    with pytest.raises(RuntimeError):
        Slots(1).give_back("nobody", "nobody")
    with pytest.raises(ValueError, match="at least one"):
        Slots(0)
