"""The watermark of one partition: how far its offset may be committed without passing an outcome that is not durable.

Offsets have gaps (transaction markers, compaction), and they may step back: a seek, or a topic that was made anew. So
nothing here counts on the next offset being the last one plus one.
"""

from collections import OrderedDict
from typing import NamedTuple


class Ticket(NamedTuple):
    """One record that was taken in; hand it back to settle it. `run` tells apart the runs between steps back."""

    run: int
    offset: int


class Watermark:
    """The lowest offset whose outcome is not durable, or the last one plus one; None before the first record.

    A step back starts a new run: what is settled from an older run has no say any more, and every record that counts
    comes again by itself.
    """

    def __init__(self) -> None:
        self._run = 0
        self._last: int | None = None
        self._open: OrderedDict[int, float] = OrderedDict()

    def open(self, offset: int, at: float = 0.0) -> Ticket:
        """Take in a record that was fetched; `at` is the caller's clock, for `head_since`."""
        if self._last is not None and offset <= self._last:
            self._run += 1
            self._open.clear()
        self._last = offset
        self._open[offset] = at
        return Ticket(self._run, offset)

    def settle(self, ticket: Ticket) -> None:
        """The record's outcome is durable. Settling twice, or a ticket of an older run, changes nothing."""
        if ticket.run == self._run:
            self._open.pop(ticket.offset, None)

    def is_open(self, ticket: Ticket) -> bool:
        """Whether this record still has no durable outcome, in the current run."""
        return ticket.run == self._run and ticket.offset in self._open

    @property
    def position(self) -> int | None:
        """The offset to commit: that of the next record to read if this process died now."""
        head = self.head
        if head is not None:
            return head
        return None if self._last is None else self._last + 1

    @property
    def head(self) -> int | None:
        """The lowest offset without a durable outcome; None if every record has one."""
        # Within a run offsets only grow, so the first that was opened is the lowest.
        return next(iter(self._open), None)

    @property
    def head_since(self) -> float | None:
        """When the lowest open record was taken in; None if there is none."""
        return next(iter(self._open.values()), None)

    @property
    def open_records(self) -> int:
        """How many records have no durable outcome yet."""
        return len(self._open)

    @property
    def gap(self) -> int:
        """How far the newest record is ahead of the lowest open one, in offsets: what a crash would repeat at most."""
        head = self.head
        return 0 if head is None or self._last is None else self._last + 1 - head
