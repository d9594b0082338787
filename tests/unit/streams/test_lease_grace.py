"""Leases count while the database has answered, and its clock has gone with ours, for as long as one lasts."""

import asyncio

import pytest

from schemas.errors import ErrorCode, MedialaneError
from streams.keeper.lease_grace import LeaseGrace

LEASE_S = 10.0


class Database:
    """What is asked for its time."""


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def ask(now):
    """Has an answer after so many seconds, with Postgres' clock so far from ours; returns whether leases count."""
    database = Database()
    grace = LeaseGrace(database, lease_s=LEASE_S, interval_s=1, clock=lambda: now[0])

    async def after(seconds, apart=5e8, *, answers=True, took_s=0):
        async def time(**_):
            now[0] += took_s
            if not answers:
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
            return now[0] + apart

        database.time = time
        now[0] += seconds - took_s
        await grace.ask()
        return grace.over

    return after


async def test_while_an_answer_hangs_leases_count_for_half_of_one_more(now):
    database, answers = Database(), asyncio.Event()

    async def time(**_):
        await answers.wait()
        return now[0]

    database.time = time
    grace = LeaseGrace(database, lease_s=LEASE_S, interval_s=1, clock=lambda: now[0])
    asking = asyncio.create_task(grace.ask())
    await asyncio.sleep(0)
    now[0] += LEASE_S / 2
    assert grace.over
    now[0] += 0.1
    assert not grace.over
    answers.set()
    await asking
    assert not grace.over
    now[0] += LEASE_S
    assert grace.over


async def test_from_the_start_and_for_as_long_as_it_answers(ask):
    assert all([await ask(seconds) for seconds in (0, 1, 60, 3600)])


async def test_a_lease_after_it_was_away_however_long_that_was(ask):
    await ask(0)
    for _ in range(30):
        await ask(1, answers=False)
    assert [await ask(1), await ask(5), await ask(4.9)] == [False] * 3
    assert await ask(0.2)


@pytest.mark.parametrize("leap_s", [-3600, -3, 3, 3600])
async def test_a_lease_after_its_clock_leapt(ask, leap_s):
    await ask(0)
    there = 5e8 + leap_s
    assert [await ask(1, there), await ask(5, there), await ask(4.9, there)] == [False] * 3
    assert await ask(0.2, there)


async def test_a_clock_that_is_slewed_does_not_leap(ask):
    assert all([await ask(1, 5e8 + drift * 0.001) for drift in range(1000)])


@pytest.mark.parametrize("shown_s", [-4, 0], ids=["at its start", "at its end"])
async def test_a_slow_answer_is_no_leap(ask, shown_s):
    """Wherever in it the clock was read: whoever renews has waited no longer than that."""
    await ask(0)
    assert await ask(5, 5e8 + shown_s, took_s=4)
    assert await ask(1)


async def test_a_leap_is_seen_after_a_slow_answer(ask):
    await ask(0)
    await ask(5, took_s=4)
    await ask(1)
    assert not await ask(1, 5e8 + 3)


async def test_an_answer_that_took_half_a_lease_is_none(ask):
    await ask(0)
    assert [await ask(8, took_s=7), await ask(9)] == [False] * 2
    assert await ask(1.1)
