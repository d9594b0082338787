"""The books of every assigned partition: what was taken in, what is settled, what may be committed.

One ledger per consumer. The transport asks it for positions; lanes, or whoever handles the records, open and settle.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.core.watermark import Ticket, Watermark


class Partition(NamedTuple):
    """A partition of a topic; equal to Faust's `TP` and to any other tuple of the two."""

    topic: str
    partition: int


class Entry(NamedTuple):
    """A record that was taken in under an assignment; hand it back to settle it."""

    partition: Partition
    assignment: int
    ticket: Ticket

    @property
    def offset(self) -> int:
        """The record's offset."""
        return self.ticket.offset


class Ledger:
    """Watermarks by partition and assignment.

    Each assignment gets a number of its own. What is settled under an older one is forgotten: the partition's records
    from the committed offset on came again, here or elsewhere.
    """

    def __init__(self) -> None:
        self._assignment = 0
        self._watermarks: dict[Partition, Watermark] = {}

    @property
    def assignment(self) -> int:
        """The number of the current assignment; grows with every `assign`."""
        return self._assignment

    @property
    def partitions(self) -> frozenset[Partition]:
        """The assigned partitions."""
        return frozenset(self._watermarks)

    def assigned(self, partition: Partition) -> bool:
        """Whether the partition is assigned."""
        return partition in self._watermarks

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Begin an assignment of exactly these partitions, each with fresh books."""
        self._assignment += 1
        self._watermarks = {Partition(*partition): Watermark() for partition in partitions}

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Close the books of these partitions; commit before calling this."""
        for partition in partitions:
            self._watermarks.pop(Partition(*partition), None)

    def open(self, partition: tuple[str, int], offset: int, at: float = 0.0) -> Entry | None:
        """Take in a record; None if the partition is not assigned (any more): drop the record, it comes again.

        `at` is the caller's clock, for `head_since`.
        """
        key = Partition(*partition)
        watermark = self._watermarks.get(key)
        return None if watermark is None else Entry(key, self._assignment, watermark.open(offset, at))

    def settle(self, entry: Entry) -> None:
        """The record's outcome is durable; does nothing under another assignment than the one it was opened in."""
        watermark = self._watermarks.get(entry.partition)
        if watermark is not None and entry.assignment == self._assignment:
            watermark.settle(entry.ticket)

    def is_open(self, entry: Entry) -> bool:
        """Whether the record is still waited for: not settled, and its assignment not over."""
        watermark = self._watermarks.get(entry.partition)
        return watermark is not None and entry.assignment == self._assignment and watermark.is_open(entry.ticket)

    def positions(self) -> Mapping[Partition, int]:
        """What may be committed now, per partition that any record was read from."""
        found = ((partition, watermark.position) for partition, watermark in self._watermarks.items())
        return {partition: position for partition, position in found if position is not None}

    def head(self, partition: tuple[str, int]) -> int | None:
        """The lowest offset without a durable outcome; None if there is none or the partition is not assigned."""
        watermark = self._watermarks.get(Partition(*partition))
        return None if watermark is None else watermark.head

    def head_since(self, partition: tuple[str, int]) -> float | None:
        """When the lowest open record was taken in; None if there is none."""
        watermark = self._watermarks.get(Partition(*partition))
        return None if watermark is None else watermark.head_since

    def gap(self, partition: tuple[str, int]) -> int:
        """How far the newest record is ahead of the lowest open one."""
        watermark = self._watermarks.get(Partition(*partition))
        return 0 if watermark is None else watermark.gap

    def open_records(self, partition: tuple[str, int]) -> int:
        """How many records of the partition have no durable outcome."""
        watermark = self._watermarks.get(Partition(*partition))
        return 0 if watermark is None else watermark.open_records
