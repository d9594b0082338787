"""The usage table as an API process holds it: every tenant's entries of the last weeks, packed.

There is an entry per tenant, partition and hour, of which hardly any is ever asked for; as objects, or as the changelog
has them, they would be the largest thing in the process.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec

from schemas.usage import Counts, Entry, StageCounts, read_entry, read_key

_Window = tuple[int, float]
"""Partition of the events, and the window's first second."""

_FIELDS = tuple(name for name in Counts.__struct_fields__ if name != "stages")
_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class Entries:
    """What the changelog told so far, of windows that begin on a day or later."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._packed: dict[str, dict[_Window, bytes]] = {}
        self._windows: dict[_Window, _Window] = {}  # shared by the tenants
        self._names: list[str] = []  # of stages, and of topics: entries have their numbers
        self._numbers: dict[str, int] = {}

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Take in (key, value) of records, in the order of each partition; those that came before change nothing."""
        for key, value in records:
            if key is None:
                continue
            place = read_key(key)
            if place.start < self._since:
                continue
            window = place.partition, place.start
            mine = self._packed.setdefault(place.tenant_id, {})
            if value is None:
                mine.pop(window, None)
            else:
                self._put(mine, self._windows.setdefault(window, window), read_entry(value))

    def forget_before(self, day: date) -> None:
        """Forget windows that begin before a day (UTC), now and in what is taken in later."""
        since = datetime.combine(day, time(), UTC).timestamp()
        if since == self._since:
            return
        self._since = since
        kept = {
            tenant_id: {window: packed for window, packed in mine.items() if window[1] >= since}
            for tenant_id, mine in self._packed.items()
        }
        self._packed = {tenant_id: mine for tenant_id, mine in kept.items() if mine}
        self._windows = {window: window for window in self._windows if window[1] >= since}

    def by_day(self, tenant_id: str, since: date) -> dict[date, Counts]:
        """A tenant's usage by day (UTC, of a window's first second), from a day on."""
        days: dict[date, Counts] = {}
        for (_, start), packed in self._packed.get(tenant_id, {}).items():
            day = datetime.fromtimestamp(start, UTC).date()
            if day >= since:
                days[day] = days.get(day, Counts()) + self._unpacked(packed)
        return days

    def _put(self, mine: dict[_Window, bytes], window: _Window, entry: Entry) -> None:
        topic, held = self._number(entry.topic_id), mine.get(window)
        if held is not None:
            held_topic, held_offset, *_ = _decode(held)
            if held_topic == topic and held_offset > entry.offset:
                return  # as `schemas.usage.newer` has it
        sums = [getattr(entry.counts, name) for name in _FIELDS]
        stages = [(self._number(name), *msgspec.structs.astuple(jobs)) for name, jobs in entry.counts.stages.items()]
        mine[window] = _encode((topic, entry.offset, sums, stages))

    def _unpacked(self, packed: bytes) -> Counts:
        _, _, sums, stages = _decode(packed)
        found: dict[str, Any] = dict(zip(_FIELDS, sums, strict=True))
        names = StageCounts.__struct_fields__
        jobs = {self._names[number]: StageCounts(**dict(zip(names, of, strict=True))) for number, *of in stages}
        return Counts(**found, stages=jobs)

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name)
        return number
