"""What usage forgets: windows that its events have left behind, and none that only the clock has."""

import asyncio
import datetime as dt
import uuid
from types import SimpleNamespace

import faust
import msgspec
import pytest

from schemas.events import JobStarted, encode_event
from schemas.states import Stage
from schemas.usage import Entry
from streams.core.ledger import Partition
from streams.faust_app import Record
from streams.usage import table as module
from streams.usage.table import UsageBooks, UsageTable

PLACE = Partition("events", 0)
TENANT, ASSET = uuid.UUID(int=1), uuid.UUID(int=2)
NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Sent(asyncio.Future):
    """A send that is confirmed."""

    message = SimpleNamespace(partition=0)


class Scene:
    """The books over a table whose changelog is a dict here."""

    def __init__(self):
        self.changelog = {}
        self.offset = 0
        metrics = SimpleNamespace(counter=lambda *_: SimpleNamespace(inc=lambda: None))
        self.books = UsageBooks(self.topic_id, metrics, window_s=3600.0, keep_s=7 * 3600.0)
        app = faust.App("usage-books", store="memory://", web_enabled=False)
        self.books.attach(app, "changelog", 1)

    async def topic_id(self):
        return "t"

    def send(self, _table, _partition, key, value, *_):
        self.changelog[key] = value
        sent = Sent()
        sent.set_result(None)
        return sent

    async def event(self, at, written=None):
        self.offset += 1
        made = JobStarted(
            id=uuid.uuid4(), time=at, tenant_id=TENANT, asset_id=ASSET, generation=1, seq=1, job_id=uuid.uuid4(),
            stage=Stage.IMAGE_PRIMARY, wait_s=1.0,
        )  # fmt: skip
        self.books.receive(Record(PLACE, self.offset, None, encode_event(made), (), (written or at).timestamp()))
        for _ in range(3):
            await asyncio.sleep(0)

    async def clean(self):
        """Some turns of what goes on beside the events."""
        cleaning = asyncio.create_task(self.books.clean())
        for _ in range(20):
            await asyncio.sleep(0)
        cleaning.cancel()

    def waits(self):
        """Events by the hours between noon and their window."""
        found = {start: msgspec.json.decode(value, type=Entry) for (_, (start, _)), value in self.changelog.items()}
        return {round((start - NOON.timestamp()) / 3600): entry.counts.waits for start, entry in found.items()}

    def committable(self):
        return self.books.positions()[PLACE]


@pytest.fixture
async def scene(monkeypatch):
    made = Scene()
    monkeypatch.setattr(faust.Table, "send_changelog", lambda *given, **_: made.send(*given))
    monkeypatch.setattr(UsageTable, "partition_for_key", lambda *_: 0)
    monkeypatch.setattr(module, "_CLEAN_EVERY_S", 0)
    await made.books.prepare()
    made.books.assign([PLACE])
    return made


async def test_what_is_old_by_the_clock_only_is_not_begun_anew(scene):
    for _ in range(3):
        await scene.event(NOON)
        await scene.clean()
    assert scene.waits() == {0: 3}
    assert scene.committable() == 4


async def test_an_event_that_comes_after_its_window_is_past_does_not_stand_for_all_that_were_in_it(scene):
    for hours in (0, 0, 1, 8):
        await scene.event(NOON + hours * HOUR)
    await scene.clean()
    await scene.event(NOON)
    await scene.event(NOON + HOUR)
    assert scene.waits() == {0: 2, 1: 2, 8: 1}
    assert scene.committable() == 7, "the late one is done with"


async def test_an_event_of_a_wrong_clock_makes_nothing_past(scene):
    await scene.event(NOON)
    await scene.event(NOON + 100_000 * HOUR, written=NOON + HOUR)
    await scene.clean()
    await scene.event(NOON)
    assert scene.waits() == {0: 2, 100_000: 1}
    # Nor do those whose records come from such a clock, too: the one here bounds them.
    ahead = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) + 1000 * HOUR
    this_hour = ahead - 1000 * HOUR
    await scene.event(this_hour)
    await scene.event(ahead)
    await scene.clean()
    await scene.event(this_hour)
    hours = round((this_hour - NOON) / HOUR)
    assert (scene.waits()[hours], scene.waits()[hours + 1000]) == (2, 1)
