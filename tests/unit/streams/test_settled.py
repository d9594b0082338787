"""Leases count while the database has answered, and its clock has gone with ours, for as long as one lasts."""

import pytest

from streams.keeper.settled import Settled

LEASE_S = 10.0


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def ask(now):
    """Asks after so many seconds, with Postgres' clock so far from ours."""
    settled = Settled(LEASE_S, clock=lambda: now[0])

    def after(seconds, apart=5e8, *, answers=True, **slowly):
        now[0] += seconds
        return settled.answered(now[0] + apart, **slowly) if answers else settled.lost()

    return after


def test_from_the_start_and_for_as_long_as_it_answers(ask):
    assert all(ask(seconds) for seconds in (0, 1, 60, 3600))


def test_a_lease_after_it_was_away_however_long_that_was(ask):
    ask(0)
    for _ in range(30):
        ask(1, answers=False)
    assert [ask(1), ask(5), ask(4.9)] == [False] * 3
    assert ask(0.2)


@pytest.mark.parametrize("leap_s", [-3600, -3, 3, 3600])
def test_a_lease_after_its_clock_leapt(ask, leap_s):
    ask(0)
    there = 5e8 + leap_s
    assert [ask(1, there), ask(5, there), ask(4.9, there)] == [False] * 3
    assert ask(0.2, there)


def test_a_clock_that_is_slewed_does_not_leap(ask):
    assert all(ask(1, 5e8 + drift * 0.001) for drift in range(1000))


@pytest.mark.parametrize("shown_s", [-4, 0], ids=["at its start", "at its end"])
def test_a_slow_answer_is_no_leap(ask, shown_s):
    """Wherever in it the clock was read: whoever renews has waited no longer than that."""
    ask(0)
    assert ask(5, 5e8 + shown_s, took_s=4)
    assert ask(1)


def test_a_leap_is_seen_after_a_slow_answer(ask):
    ask(0)
    ask(5, took_s=4)
    ask(1)
    assert not ask(1, 5e8 + 3)


def test_an_answer_that_took_half_a_lease_is_none(ask):
    ask(0)
    assert [ask(8, took_s=7), ask(9)] == [False] * 2
    assert ask(1.1)
