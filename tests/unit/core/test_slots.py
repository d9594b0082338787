"""Slots: never more than there are, and nobody who is ready waits while others are served over and over."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.slots import Slots


@settings(max_examples=80, deadline=None)
@given(
    total=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sets(st.integers(0, 4)), st.integers(0, 9)), max_size=60),
)
def test_never_more_than_there_are_and_shares_differ_by_one(total, steps):
    slots: Slots[int] = Slots(total)
    held: list[int] = []
    for ready, finished in steps:
        if held and finished < len(held):
            slots.give_back(held.pop(finished))
        lane = slots.deal(ready)
        if len(held) == total or not ready:
            assert lane is None
            continue
        assert lane in ready
        assert held.count(lane) == min(held.count(other) for other in ready)
        held.append(lane)
        assert slots.free == total - len(held)


@settings(max_examples=60, deadline=None)
@given(lanes=st.integers(1, 6), total=st.integers(1, 4), order=st.randoms())
def test_a_lane_that_holds_nothing_is_served_within_a_round(lanes, total, order):
    """All lanes are always ready, and jobs end in any order, some never."""
    slots: Slots[int] = Slots(total)
    held: list[int] = []
    passed_over = dict.fromkeys(range(lanes), 0)
    for _ in range(lanes * 15):
        while (lane := slots.deal(range(lanes))) is not None:
            held.append(lane)
            passed_over = {key: 0 if key in held else count + 1 for key, count in passed_over.items()}
        assert max(passed_over.values()) < lanes
        slots.give_back(held.pop(order.randrange(len(held))))


def test_a_lane_of_long_jobs_does_not_starve_another():
    slots: Slots[str] = Slots(2)
    assert slots.deal(["long"]) == "long"
    assert slots.deal(["long"]) == "long"
    slots.give_back("long")
    assert slots.deal(["long", "short"]) == "short"


def test_giving_back_what_was_not_held_is_a_defect():
    with pytest.raises(RuntimeError):
        Slots(1).give_back("nobody")
    with pytest.raises(ValueError, match="at least one"):
        Slots(0)
