"""Plans of placements: what they promise for any tenants, loads and partitions."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.placement.planner import Move, partition_loads, plan, skew


@st.composite
def situations(draw):
    partitions = draw(st.integers(1, 8))
    placements, loads = {}, {}
    for number in range(draw(st.integers(0, 8))):
        kparts = draw(st.lists(st.integers(0, partitions - 1), min_size=1, max_size=partitions, unique=True))
        placements[f"t{number:02}"] = tuple(kparts)
        if draw(st.booleans()):
            loads[f"t{number:02}"] = draw(st.floats(0, 1000))
    return placements, loads, partitions


@given(situations())
@example(({"t00": (0,), "t01": (1,)}, {"t00": 9.0, "t01": 16.0}, 2))
def test_a_plan_is_never_worse_and_never_moves_who_costs_nothing(situation):
    placements, loads, partitions = situation
    made = plan(placements, loads, partitions)
    after = placements | {move.tenant: move.want for move in made.moves}
    assert skew(made.after) <= skew(made.before) * (1 + 1e-6)
    assert made.after == pytest.approx(partition_loads(after, loads, partitions), abs=1e-6)
    for move in made.moves:
        assert loads.get(move.tenant, 0) > 0
        assert move.have == placements[move.tenant]
        assert len(set(move.want)) == len(move.want) >= len(move.have), (
            "buckets on partitions of their own, never fewer"
        )
        assert set(move.want) <= set(range(partitions))


@given(situations(), st.integers(0, 3))
def test_no_more_tenants_move_than_permitted(situation, most):
    assert len(plan(*situation, most_moves=most).moves) <= most


@given(situations())
@example(({"t00": (0,), "t01": (0, 1, 3)}, dict.fromkeys(("t00", "t01"), 723.6587653554517), 5))
def test_the_plan_of_a_plan_is_short(situation):
    """What was applied is not undone by the next plan: it only goes on where the first could not."""
    placements, loads, partitions = situation
    first = plan(placements, loads, partitions)
    second = plan(placements | {move.tenant: move.want for move in first.moves}, loads, partitions)
    assert second.moves == ()


def test_a_hot_tenant_is_split_and_a_full_partition_relieved():
    placements = {"hot": (0,), "a": (0,), "b": (0,), "c": (1,)}
    made = plan(placements, {"hot": 300.0, "a": 50.0, "b": 50.0, "c": 0.0}, 4)
    assert made.moves == (Move("hot", (0,), (3, 1, 2)),), "nobody else has to move"
    assert made.after == (100.0, 100.0, 100.0, 100.0)


def test_new_partitions_take_over_what_they_should():
    made = plan({"a": (0,), "b": (0,), "c": (1,), "d": (1,)}, dict.fromkeys("abcd", 1.0), 4)
    assert made.moves == (Move("a", (0,), (2,)), Move("c", (1,), (3,)))


def test_an_even_load_stays_as_it_is():
    assert plan({"a": (0,), "b": (1,)}, {"a": 1.0, "b": 1.1}, 2).moves == ()


def test_a_partition_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="not among the 2"):
        plan({"a": (2,)}, {}, 2)
