"""The watchdog's patience: restart at once, then ever more rarely, and forget it all after a healthy look."""

import pytest
from support.connect import MemoryConnect

from connectors.debezium import Watchdog

NAME = "outbox"


@pytest.fixture
async def connect():
    made = MemoryConnect()
    await made.create(NAME, broken=True)
    return made


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def reports():
    return []


@pytest.fixture
def watchdog(connect, now, reports):
    return Watchdog(connect, NAME, on_report=reports.append, backoff_s=1, backoff_cap_s=5, clock=lambda: now[0])


async def test_pauses_double_up_to_the_cap(connect, watchdog, now):
    pauses = []
    for _ in range(5):
        assert (await watchdog.look()).outcome == "restarted"
        waiting = await watchdog.look()
        assert waiting.outcome == "failed", "too early for another try"
        assert "no publication" in waiting.cause
        pauses.append(waiting.retry_in_s)
        now[0] += waiting.retry_in_s
    assert pauses == [1, 2, 4, 5, 5]
    assert connect.restarts == 5


async def test_a_healthy_look_ends_the_row_of_failures(connect, watchdog, now):
    await watchdog.look()
    now[0] += 1
    await connect.mend(NAME)
    assert (await watchdog.look()).failures == 2
    assert (await watchdog.look()).outcome == "healthy"
    await connect.create(NAME, broken=True)
    again = await watchdog.look()
    assert (again.outcome, again.failures, again.retry_in_s) == ("restarted", 1, 1)


async def test_what_neither_runs_nor_fails_is_not_called_healthy(connect, watchdog):
    await watchdog.look()
    await connect.unassign(NAME)
    found = await watchdog.look()
    assert (found.outcome, found.failures) == ("starting", 1)
    assert connect.restarts == 1


async def test_every_look_is_reported_also_when_connect_is_away_or_knows_nothing(connect, watchdog, reports):
    connect.reachable = False
    await watchdog.look()
    connect.reachable = True
    await Watchdog(connect, "another", on_report=reports.append).look()
    assert [(report.connector, report.outcome) for report in reports] == [
        (NAME, "unreachable"),
        ("another", "missing"),
    ]
    assert "does not answer" in reports[0].cause
