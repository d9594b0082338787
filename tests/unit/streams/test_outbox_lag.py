"""How far the connector is behind, from samples of the WAL; and what is said of slots."""

from contextlib import asynccontextmanager
from uuid import UUID

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from connectors.postgres import outbox_upkeep
from connectors.postgres.outbox_upkeep import OutboxState
from connectors.telemetry.metrics import Metrics
from streams.keeper.outbox import OutboxLag, OutboxUpkeep

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def test_a_row_is_unsent_until_the_slot_has_confirmed_the_wal_behind_it():
    lag = OutboxLag()
    assert lag.observe(now=0, newest=ONE, end_lsn=100, confirmed_lsn=50) == 0
    assert lag.observe(now=5, newest=ONE, end_lsn=120, confirmed_lsn=99) == 5
    assert lag.observe(now=6, newest=ONE, end_lsn=120, confirmed_lsn=100) == 0


def test_the_age_is_that_of_the_oldest_unsent_row():
    lag = OutboxLag()
    lag.observe(now=0, newest=ONE, end_lsn=100, confirmed_lsn=0)
    lag.observe(now=4, newest=TWO, end_lsn=200, confirmed_lsn=0)
    assert lag.observe(now=10, newest=THREE, end_lsn=300, confirmed_lsn=100) == 6
    assert lag.observe(now=11, newest=THREE, end_lsn=300, confirmed_lsn=300) == 0


def test_an_idle_database_is_not_behind_whatever_else_writes_wal():
    lag = OutboxLag()
    lag.observe(now=0, newest=ONE, end_lsn=100, confirmed_lsn=100)
    assert lag.observe(now=1000, newest=ONE, end_lsn=10_000, confirmed_lsn=100) == 0


def test_without_a_slot_everything_is_unsent():
    lag = OutboxLag()
    lag.observe(now=0, newest=ONE, end_lsn=100, confirmed_lsn=None)
    assert lag.observe(now=7, newest=ONE, end_lsn=100, confirmed_lsn=None) == 7


def test_an_outage_of_many_hours_shows_as_such():
    lag = OutboxLag()
    for second in range(0, 36_001, 5):
        age = lag.observe(now=second, newest=UUID(int=second), end_lsn=second + 1, confirmed_lsn=0)
    assert age == 36_000
    assert lag.observe(now=36_002, newest=UUID(int=36_000), end_lsn=36_001, confirmed_lsn=30_000) <= 6_010
    assert lag.observe(now=36_003, newest=UUID(int=36_000), end_lsn=36_001, confirmed_lsn=36_001) == 0


class Nothing:
    """A database whose transactions hold nothing."""

    @asynccontextmanager
    async def transaction(self):
        yield None


async def test_what_may_fill_the_disk_is_said_once(monkeypatch):
    states = iter([
        OutboxState(None, 100, 100, 0, (), unbounded=False),
        OutboxState(None, 100, 100, 9, ("old",), unbounded=True),
        OutboxState(None, 100, 100, 9, ("old",), unbounded=True),
        OutboxState(None, 100, 100, 9, ("older", "old"), unbounded=True),
    ])  # fmt: skip

    async def read_state(_connection, *, slot):
        return next(states)

    async def rotate(_connection, **_options):
        return []

    monkeypatch.setattr(outbox_upkeep, "read_state", read_state)
    monkeypatch.setattr(outbox_upkeep, "rotate", rotate)
    metrics = Metrics(CollectorRegistry(), process="keeper")
    upkeep = OutboxUpkeep(Nothing(), metrics, slot="s", retention_s=60, interval_s=1)
    told = []
    for _ in range(4):
        with capture_logs() as logs:
            await upkeep.tend()
        told.append([log.get("slots") or log["event"].partition(":")[0] for log in logs])
    assert told == [[], ["max_slot_wal_keep_size is -1", ["old"]], [], [["older"]]]
