"""What is counted of each event, and how a window's counts stand in the changelog topic. Knows neither Faust nor Kafka.

An entry is one tenant's window as one partition of the events tells it; a tenant's usage is the sum of its entries.
An entry holds the offset of the last event in it: an event that comes again finds it and is not counted twice.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from schemas.events import AssetUploaded, Event, JobDone, JobFailed, JobStarted, VariantReady


class StageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over one stage's jobs."""

    jobs_done: int = 0
    jobs_failed: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: "StageCounts") -> "StageCounts":
        return StageCounts(
            jobs_done=self.jobs_done + other.jobs_done,
            jobs_failed=self.jobs_failed + other.jobs_failed,
            cpu_s=self.cpu_s + other.cpu_s,
        )


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over events: jobs by their ends, CPU seconds, bytes of uploads and variants, waits before first claims."""

    jobs_done: int = 0
    jobs_failed: int = 0
    cpu_s: float = 0.0
    uploads: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    waits: int = 0
    wait_s: float = 0.0
    longest_wait_s: float = 0.0
    stages: dict[str, StageCounts] = {}  # by the stage's name; entries of releases before this field lack it

    def __add__(self, other: "Counts") -> "Counts":
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return Counts(
            **sums,
            longest_wait_s=max(self.longest_wait_s, other.longest_wait_s),
            stages=_merged(self.stages, other.stages),
        )


_SUMMED = tuple(name for name in Counts.__struct_fields__ if name not in {"longest_wait_s", "stages"})


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A table's value: the counts, and the last event in them by the topic's id (it may be made anew) and offset."""

    counts: Counts
    topic_id: str
    offset: int


class Key(NamedTuple):
    """A table's key: tenant, partition of the events, and the window's bounds in seconds since 1970."""

    tenant_id: str
    partition: int
    start: float
    end: float


read_entry = msgspec.json.Decoder(Entry).decode
"""A changelog record's value. Raises `msgspec.DecodeError` if it is none."""


def counted(event: Event) -> Counts | None:
    """What an event adds; None if nothing."""
    match event:
        case AssetUploaded(size=size):
            return Counts(uploads=1, bytes_in=size)
        case VariantReady(variant=variant):
            return Counts(bytes_out=variant.size)
        case JobStarted(wait_s=float() as wait_s):
            return Counts(waits=1, wait_s=wait_s, longest_wait_s=wait_s)
        case JobDone(cpu_s=cpu_s, stage=stage):
            return Counts(jobs_done=1, cpu_s=cpu_s, stages={stage.value: StageCounts(jobs_done=1, cpu_s=cpu_s)})
        case JobFailed(cpu_s=cpu_s, stage=stage):
            return Counts(jobs_failed=1, cpu_s=cpu_s, stages={stage.value: StageCounts(jobs_failed=1, cpu_s=cpu_s)})
    return None


def window_of(at: float, size_s: float) -> tuple[float, float]:
    """The window that a moment falls into: its first second, and the first after it."""
    start = at // size_s * size_s
    return start, start + size_s


def advanced(before: bytes | None, added: Counts, *, topic_id: str, offset: int) -> bytes | None:
    """An entry's next value; None if it has this event already."""
    entry = None if before is None else read_entry(before)
    if entry is None:
        return msgspec.json.encode(Entry(counts=added, topic_id=topic_id, offset=offset))
    if entry.topic_id == topic_id and offset <= entry.offset:
        return None
    return msgspec.json.encode(Entry(counts=entry.counts + added, topic_id=topic_id, offset=offset))


def newer(one: bytes, other: bytes) -> bytes:
    """Of two values of a key the one that holds more events; a worker that was given up may have written last."""
    first, second = read_entry(one), read_entry(other)
    return one if first.topic_id == second.topic_id and first.offset > second.offset else other


def table_key(key: Key) -> tuple[str, tuple[float, float]]:
    """The key as Faust's windowed tables have it."""
    return f"{key.tenant_id}/{key.partition}", (key.start, key.end)


def read_table_key(key: tuple[str, tuple[float, float]]) -> Key:
    """The other way round."""
    inner, (start, end) = key
    tenant_id, _, partition = inner.rpartition("/")
    return Key(tenant_id, int(partition), float(start), float(end))


def read_key(data: bytes) -> Key:
    """A changelog record's key. Raises `ValueError` if it is none."""
    return read_table_key(json.loads(data))


def read_changelog(records: Iterable[tuple[bytes | None, bytes | None]]) -> dict[Key, Counts]:
    """The table as its changelog tells it: (key, value) of every record, in the order of each partition."""
    latest: dict[bytes, bytes] = {}
    for key, value in records:
        if key is None:
            continue
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = newer(latest[key], value) if key in latest else value
    return {read_key(key): read_entry(value).counts for key, value in latest.items()}


def by_tenant(table: dict[Key, Counts], *, since: float) -> dict[str, Counts]:
    """Usage by tenant over the windows that end after `since`."""
    sums: dict[str, Counts] = {}
    for key, counts in table.items():
        if key.end > since:
            sums[key.tenant_id] = sums.get(key.tenant_id, Counts()) + counts
    return sums


def as_row(counts: Counts) -> dict[str, Any]:
    """Counts for a report, with the mean wait."""
    return msgspec.structs.asdict(counts) | {"mean_wait_s": counts.wait_s / counts.waits if counts.waits else 0.0}


def _merged(one: Mapping[str, StageCounts], other: Mapping[str, StageCounts]) -> dict[str, StageCounts]:
    return {name: one.get(name, StageCounts()) + other.get(name, StageCounts()) for name in sorted({*one, *other})}
