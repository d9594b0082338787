"""An entry of the usage table is recovered to its newest value, however the changelog is cut into batches."""

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


def event(written):
    message = SimpleNamespace(key=KEY, value=written, partition=0)
    return SimpleNamespace(key=KEY, value=written, message=message)


@pytest.fixture
def table():
    app = faust.App("usage-recovery", store="memory://", web_enabled=False)
    return UsageTable(app, name="usage", value_type=bytes, partitions=1, window=TumblingWindow(60.0))


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
