"""An entry of the usage table is recovered to its newest value, however the changelog is cut into batches; old ones not."""

from types import SimpleNamespace

import faust
import pytest
from faust.windows import TumblingWindow

from schemas.usage import Counts, advanced
from streams.usage.table import UsageTable

KEY = ["tenant/0", [0.0, 60.0]]
_ENTRY = ("tenant/0", (0.0, 60.0))


def value(offset):
    found = advanced(None, Counts(jobs_done=offset), topic_id="t", offset=offset)
    assert found is not None
    return found


def event(written, key=KEY, written_at=1e9):
    message = SimpleNamespace(key=key, value=written, partition=0, timestamp=written_at)
    return SimpleNamespace(key=key, value=written, message=message)


@pytest.fixture
def table():
    app = faust.App("usage-recovery", store="memory://", web_enabled=False)
    return UsageTable(app, name="usage", value_type=bytes, partitions=1, window=TumblingWindow(60.0), keep_s=600.0)


@pytest.mark.parametrize("sizes", [(2,), (1, 1)])
@pytest.mark.parametrize("offsets", [(200, 150), (150, 200)])
def test_the_newest_wins(table, sizes, offsets):
    events = [event(value(offset)) for offset in offsets]
    for size in sizes:
        table.apply_changelog_batch(events[:size])
        del events[:size]
    assert table.data[_ENTRY] == value(200)


def test_what_was_forgotten_is_gone_and_may_come_again(table):
    table.apply_changelog_batch([event(value(200)), event(None)])
    assert _ENTRY not in table.data
    table.apply_changelog_batch([event(None), event(value(3))])
    assert table.data[_ENTRY] == value(3)


def entry(start, tenant="tenant", partition=0):
    return [f"{tenant}/{partition}", [start, start + 60.0]]


def held(table):
    return sorted((inner, start) for inner, (start, _) in table.data)


async def test_only_windows_that_are_kept_are_recovered_in_whatever_order_they_come(table):
    starts = [0.0, 60.0, 1200.0, 600.0, 540.0, 1140.0]
    table.apply_changelog_batch([event(value(1), entry(start)) for start in starts[:2]])
    assert held(table) == [("tenant/0", 0.0), ("tenant/0", 60.0)]
    table.apply_changelog_batch([event(value(1), entry(start)) for start in starts[2:]])
    assert held(table) == [("tenant/0", 600.0), ("tenant/0", 1140.0), ("tenant/0", 1200.0)]
    assert await table.forget_past() == 0


def test_each_partition_keeps_by_its_own_events(table):
    table.apply_changelog_batch([event(value(1), entry(0.0, partition=1)), event(value(1), entry(6000.0))])
    assert held(table) == [("tenant/0", 6000.0), ("tenant/1", 0.0)]


def test_a_window_of_the_future_makes_none_past_that_was_not_by_its_records_time(table):
    table.apply_changelog_batch([event(value(1), entry(0.0)), event(value(1), entry(9e8), written_at=60.0)])
    assert held(table) == [("tenant/0", 0.0), ("tenant/0", 9e8)]


async def test_of_partitions_that_went_to_others_nothing_is_kept(table):
    table.apply_changelog_batch([event(value(1), entry(6000.0, partition=number)) for number in range(3)])
    await table.on_recovery_completed({("changelog", 0), ("changelog", 2)}, set())
    assert held(table) == [("tenant/0", 6000.0), ("tenant/2", 6000.0)]
    # How far it had come is forgotten, too: whoever had it meanwhile may have begun anew.
    table.apply_changelog_batch([event(value(1), entry(0.0, partition=1))])
    assert ("tenant/1", 0.0) in held(table)


async def test_the_store_keeps_no_books_of_its_own_about_what_is_recovered(table):
    table.apply_changelog_batch([event(value(1), entry(start)) for start in (0.0, 60.0)])
    assert table.data._key_partition == {}
    await table.on_recovery_completed({("changelog", 0)}, set())
    assert len(table.data) == 2
