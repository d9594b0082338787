"""The Faust table, and the books that decide what of the events may be committed.

An event is settled when the changelog has confirmed the entry that holds it, and only then is its offset committed;
what comes again after a crash is found in its entry and left out. So each record of the events topic is counted once.
A record whose event was counted lately under another offset is a repeat of the connector's, and adds nothing.
Faust's own commits would pass records whose entries are still on their way, hence `streams.transport`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import faust
import msgspec
import structlog
from faust.windows import TumblingWindow

from connectors.kafka.admin import TopicsError
from connectors.telemetry.metrics import Metrics
from schemas.events import decode_event
from schemas.metrics import EVENTS_PROCESSED
from schemas.records import HEADER_TYPE
from schemas.usage import Counts, Key, advanced, counted, newer, read_table_key, table_key, window_of
from streams.core.ledger import Entry, Ledger, Partition
from streams.faust_app import Record
from streams.usage.lately import Lately
from streams.usage.windows import Windows

log = structlog.get_logger(__name__)

_POLL = 500
_CLEAN_EVERY_S = 300.0
_RETRY_S = 1.0


class UsageLostError(Exception):
    """The table's state is not what the topics say (any more); the process must end and recover it."""


class UsageTable(faust.Table[Any, bytes]):
    """A windowed table that shows the send of its last change, and does not let an older value win at recovery.

    It holds the entries of the windows that are kept, and of the partitions that are ours.
    """

    last_sent: "asyncio.Future[Any] | None" = None

    def __init__(self, app: faust.App, *, keep_s: float, **options: Any) -> None:
        super().__init__(app, **options)
        self.windows = Windows(keep_s)

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """As Faust does it; its future is kept for whoever made the change."""
        sent = super().send_changelog(*args, **kwargs)
        self.last_sent = sent
        return sent

    def on_key_set(self, key: Any, value: bytes) -> None:
        """As Faust does it, and the key is known."""
        super().on_key_set(key, value)
        self.windows.add(read_table_key(key))

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take in what the changelog holds: of each entry what is newest, be it in the batch or known already.

        It holds five times as many windows as are kept: what is past is left out, or goes as soon as it is.
        """
        latest: dict[Any, Any] = {}
        for event in batch:
            key = self._to_key(event.key)
            place = read_table_key(key)
            self.windows.saw(place.partition, place.start, event.message.timestamp)
            if self.windows.is_past(place.partition, place.end):
                continue
            known = latest[key].value if key in latest else self.data.get(key)
            if not known or not event.value or newer(known, event.value) is not known:
                latest[key] = event
            self.windows.add(place)
        super().apply_changelog_batch(latest.values())
        store: Any = self.data
        store._key_partition.clear()  # noqa: SLF001 - a dict as large as the table; our keys say it themselves
        for keys in self.windows.past():
            self._drop(keys)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Of partitions that went to others nothing is kept: nobody would forget their windows."""
        self._drop(self.windows.lost({partition for _, partition in active_tps}))
        await super().on_recovery_completed(active_tps, standby_tps)

    async def forget_past(self) -> int:
        """Forget what is past, window by window, so that others have their turn; returns how many entries went."""
        count = 0
        for keys in self.windows.past():
            self._drop(keys)
            count += len(keys)
            await asyncio.sleep(0)
        return count

    def _drop(self, keys: Iterable[Key]) -> None:
        data: Any = self.data
        for key in keys:
            data.pop(table_key(key), None)


class UsageBooks:
    """Takes in records of the events, changes the table, settles what is durable (`streams.core.ports.Books`).

    `topic_id` asks for the id of the events topic: offsets mean nothing across topics of the same name.
    """

    def __init__(
        self, topic_id: Callable[[], Awaitable[str]], metrics: Metrics, *, window_s: float, keep_s: float
    ) -> None:
        self.ledger = Ledger()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ask_topic_id = topic_id
        self._topic_id = ""
        self._metrics = metrics
        self._window_s = window_s
        self._keep_s = keep_s
        self._table: UsageTable | None = None
        self._sends: dict[Partition, asyncio.Future[Any]] = {}
        self._read: dict[Partition, int] = {}
        self._lately = Lately()
        self._same_topic: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def attach(self, app: faust.App, changelog: str, partitions: int) -> None:
        """Give the app its table, before it starts."""
        # No expiry by Faust: it keeps a heap entry for every change, for as long as the window lives.
        topic = app.topic(
            changelog, value_type=bytes, key_serializer="json", value_serializer="raw", partitions=partitions,
            acks=False, internal=True, maxsize=131_072, allow_empty=True,
        )  # fmt: skip
        self._table = UsageTable(
            app, name="usage", value_type=bytes, partitions=partitions, changelog_topic=topic,
            window=TumblingWindow(self._window_s), keep_s=self._keep_s,
        )  # fmt: skip
        app.tables.add(self._table)

    async def prepare(self) -> None:
        """Learn which topic this is. Raises what the question raises."""
        self._topic_id = await self._ask_topic_id()
        self._same_topic.set_result(None)

    # -- what the consumer calls (streams.core.ports.Books) -----------------------------------------------------------

    @property
    def poll(self) -> int:
        """Records per fetch."""
        return _POLL

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """An assignment begins; records come again from the committed offsets on."""
        self.ledger.assign(partitions)
        self._read.clear()
        # Between two assignments the topic may have been made anew; what looks counted waits until that is known.
        self._same_topic = asyncio.ensure_future(self._verify())

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """What is not confirmed by now comes again, here or elsewhere."""
        self.ledger.revoke(partitions)

    def positions(self) -> Mapping[Partition, int]:
        """What may be committed."""
        return self.ledger.positions()

    def receive(self, record: Record) -> None:
        """Count a record, inside the agent's stream."""
        last = self._read.get(record.partition)
        if last is not None and record.offset <= last and self._same_topic.done():
            # Faust seeks back after recovering the table, too.
            self._same_topic = asyncio.ensure_future(self._verify())
        entry = self.ledger.open(record.partition, record.offset, at=time.monotonic())
        if entry is None or self.lost.done():
            return
        self._read[record.partition] = record.offset
        outcome = self._count(record, entry)
        names = dict(record.headers)
        kind = (names.get(HEADER_TYPE) or b"unknown").decode(errors="replace")
        self._metrics.counter(EVENTS_PROCESSED, record.partition.topic, kind, outcome).inc()

    async def clean(self) -> None:
        """Forget windows that are past; their records leave the changelog by its retention."""
        while True:
            await asyncio.sleep(_CLEAN_EVERY_S)
            if self._table is not None:
                await self._table.forget_past()

    async def watch(self) -> None:
        """Raises `UsageLostError` when the state has to be recovered."""
        await self.lost

    # -- inside -----------------------------------------------------------------------------------------------------

    def _count(self, record: Record, entry: Entry) -> str:
        try:
            event = decode_event(record.value or b"")
        except msgspec.DecodeError as error:
            # Of a newer release, or none of ours: nothing that this one could count.
            log.warning("record not counted", error=str(error), offset=record.offset, kpart=record.partition.partition)
            self._settle_after_last(record.partition, entry)
            return "left"
        added, table = counted(event), self._table
        if added is None or table is None:
            self._settle_after_last(record.partition, entry)
            return "ok"
        partition, at = record.partition.partition, event.time.timestamp()
        start, end = window_of(at, self._window_s)
        table.windows.saw(partition, at, record.timestamp)
        if table.windows.is_past(partition, end):
            # What its window held may be forgotten, and one event must not stand for all of them.
            log.warning("event too late to be counted", at=at, offset=record.offset, kpart=partition)
            self._settle_after_last(record.partition, entry)
            return "late"
        key = table_key(Key(str(event.tenant_id), partition, start, end))
        repeat = self._lately.is_repeat(record.partition, event.id, record.offset)
        # A repeat moves its entry's offset on, too: who reads it again and remembers nothing finds it counted.
        adding = Counts() if repeat else added
        value = advanced(table.get(key), adding, topic_id=self._topic_id, offset=record.offset)
        if value is None:
            self._same_topic.add_done_callback(lambda _: self._settle_after_last(record.partition, entry))
            return "stale"
        table[key] = value
        if table.last_sent is None:
            raise RuntimeError("the table's change was not sent")
        self._sends[record.partition] = table.last_sent
        self._settle_after_last(record.partition, entry)
        return "repeat" if repeat else "ok"

    async def _verify(self) -> None:
        while True:
            try:
                found = await self._ask_topic_id()
            except TopicsError as error:
                log.warning("which topic this is could not be asked", error=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            if found != self._topic_id:
                self._lose(UsageLostError("the events topic was made anew"))
            return

    def _settle_after_last(self, partition: Partition, entry: Entry) -> None:
        """Settle a record once everything sent so far for its partition is confirmed; what it rests on may be new."""
        sent = self._sends.get(partition)
        if self.lost.done():
            return
        if sent is None:
            self.ledger.settle(entry)
            return
        sent.add_done_callback(lambda done: self._sent(done, entry))

    def _sent(self, done: "asyncio.Future[Any]", entry: Entry) -> None:
        if self.lost.done():
            return
        if done.cancelled() or done.exception() is not None:
            self._lose(UsageLostError(f"the changelog did not take a record: {done}"))
        else:
            self.ledger.settle(entry)

    def _lose(self, error: UsageLostError) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
