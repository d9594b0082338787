"""Lanes at work: records go in, are claimed when a slot is free, and their jobs run beside each other.

A record's outcome is durable as soon as its claim is; the job goes on under its lease and holds no offset. What a claim
needs and does not get (the database) pauses the lane; nothing is acked, and it goes on by itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Generic, TypeVar

import structlog

from schemas.errors import MedialaneError
from streams.core.lane import Bounds, Lane, Signal
from streams.core.ledger import Entry, Ledger, Partition
from streams.core.ports import Flow
from streams.core.queues import Beyond, Fifo, Item, LaneQueue
from streams.core.slots import Slots
from streams.crew import Callbacks, Crew, Drained, Handler
from streams.pauses import backoff

P = TypeVar("P")
W = TypeVar("W")

log = structlog.get_logger(__name__)

_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_DEFECT_TRIES = 5
_CLAIM_BOUND_S = 8.0


class Lanes(Generic[P, W]):
    """The lanes of a process, and the books of its consumer (`streams.core.ports.Books`). One event loop only.

    `flow` is asked for whenever a lane becomes full or has room again: the consumer is made after the lanes are.
    """

    def __init__(
        self,
        handler: Handler[P, W],
        flow: Callable[[], Flow],
        *,
        slots: int,
        bounds: Bounds,
        queue: Callable[[], LaneQueue[P]] = Fifo,
        weight: Callable[[str], float] = lambda _tenant: 1.0,
    ) -> None:
        self.ledger = Ledger()
        self._crew = Crew(handler)
        self._flow = flow
        self._bounds = bounds
        self._queue = queue
        self._slots: Slots[Partition] = Slots(slots, weight)
        self._lanes: dict[Partition, Lane[P]] = {}
        self._busy: dict[Partition, Lane[P]] = {}  # those in which something waits
        self._failures: dict[Partition, int] = {}
        self._defects: dict[Entry, int] = {}  # records whose claims failed by a defect, how many times each
        self._closing = False
        self._spare = False

    # -- what the consumer calls ------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """An assignment of exactly these partitions begins."""
        mine = [Partition(*partition) for partition in partitions]
        if not mine and not self._spare:
            log.info("no partition for this process: there are as many workers as partitions, and it is a spare")
        self._spare = not mine
        self.ledger.assign(mine)
        for key in mine:
            self._lanes.setdefault(key, Lane(self._queue(), self._bounds))

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Drop what has not started: it comes again, here or elsewhere. Jobs go on under their leases."""
        mine = [Partition(*partition) for partition in partitions]
        self.ledger.revoke(mine)
        for key in mine:
            if key in self._lanes:
                self._lanes[key].drop()
                self._mark(key)
                self._tidy(key)

    def positions(self) -> Mapping[Partition, int]:
        """What may be committed."""
        return self.ledger.positions()

    @property
    def poll(self) -> int:
        """Records per fetch."""
        return self._bounds.poll

    def put(self, key: Partition, offset: int, tenant: str, payload: P, *, again: bool = False) -> None:
        """Take in a record; dropped if the partition is not ours any more, or the process is draining.

        `again`: what it offers was offered before (`Item`).
        """
        entry = None if self._closing else self.ledger.open(key, offset, at=time.monotonic())
        if entry is None:
            return
        self._put(key, Item(entry, tenant, payload, again))
        self._signal(key)

    # -- what changes while it runs ---------------------------------------------------------------------------------

    def resize(self, bounds: Bounds) -> None:
        """Give every lane these bounds from now on."""
        self._bounds = bounds
        for key, lane in self._lanes.items():
            lane.resize(bounds)
            self._signal(key)
        self.deal()

    def take_excess(self, key: Partition, *, behind: bool) -> list[Beyond[P]]:
        """Take what keeps a full lane from reading on (`Lane.excess`); its records stay open."""
        head, gap = self.ledger.head(key), self.ledger.gap(key)
        if head is None or self._closing:
            return []
        taken = self._lanes[key].excess(newest=head + gap - 1, gap=gap, behind=behind)
        self._mark(key)
        if not taken:
            self._signal(key)
        return taken

    def done_with(self, item: Item[P]) -> None:
        """The outcome of a record that was taken out is durable without us."""
        self.ledger.settle(item.entry)
        self._signal(item.entry.partition)

    def offer_again(self, item: Item[P]) -> None:
        """A record that was taken out is still ours to start."""
        if self.ledger.is_open(item.entry) and not self._closing:
            self._put(item.entry.partition, item)

    def deal(self) -> None:
        """Start what may start now; for who changes what decides it."""
        while self._busy and self._slots.free:
            key = self._slots.deal((key, lane.turn) for key, lane in self._busy.items() if lane.ready)
            if key is None:
                return
            item = self._busy[key].take()
            if not self._busy[key].waiting:
                del self._busy[key]
            callbacks = Callbacks(
                partial(self._claimed, key, item), partial(self._failed, key, item), partial(self._over, key, item)
            )
            self._crew.start(item.payload, callbacks)

    # -- what is shown ----------------------------------------------------------------------------------------------

    @property
    def lanes(self) -> Mapping[Partition, Lane[P]]:
        """The lanes of assigned partitions, and of revoked ones whose jobs still run."""
        return self._lanes

    @property
    def bounds(self) -> Bounds:
        """What every lane may hold."""
        return self._bounds

    @property
    def slots(self) -> Slots[Partition]:
        """The process's slots."""
        return self._slots

    async def watch(self) -> None:
        """Raise what went wrong in these books: the process must end then, for they are not right any more."""
        await self._crew.watch()

    # -- the end ----------------------------------------------------------------------------------------------------

    async def stop_intake(self, timeout_s: float = _CLAIM_BOUND_S) -> None:
        """Take in nothing more, drop what has not started, and wait until no claim is under way: 8 s, or `timeout_s`.

        Then every outcome is known: commit and leave the group, while jobs go on.
        """
        self._closing = True
        for lane in self._busy.values():
            lane.drop()
        self._busy.clear()
        try:
            await self._crew.claims_done(min(timeout_s, _CLAIM_BOUND_S))
        except TimeoutError:
            log.warning("claims did not end in time; their records come again", claims=self._crew.claiming)

    async def drain(self, timeout_s: float) -> Drained[W]:
        """After `stop_intake`: wait for running jobs up to `timeout_s`, then have the rest given back."""
        return await self._crew.drain(timeout_s)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _put(self, key: Partition, item: Item[P]) -> None:
        self._lanes[key].put(item)
        self._busy[key] = self._lanes[key]
        self.deal()

    def _mark(self, key: Partition) -> None:
        if self._lanes[key].waiting:
            self._busy[key] = self._lanes[key]
        else:
            self._busy.pop(key, None)

    def _claimed(self, key: Partition, item: Item[P]) -> None:
        self.ledger.settle(item.entry)
        self._failures.pop(key, None)
        self._signal(key)

    def _over(self, key: Partition, item: Item[P], cost: float) -> None:
        self._lanes[key].finish(item.tenant, cost)
        self._slots.give_back(key, item.tenant)
        self._signal(key)
        self._tidy(key)
        self.deal()

    def _failed(self, key: Partition, item: Item[P], error: Exception) -> None:
        lane = self._lanes[key]
        # What was claimed beside it fails of the same: the first one's pause is for all of them.
        first = not lane.paused
        failures = self._failures[key] = self._failures.get(key, 0) + first
        names = {"topic": key.topic, "kpart": key.partition, "offset": item.entry.offset, "failures": failures}
        outage = isinstance(error, MedialaneError)
        if not outage and self._tried(item.entry) >= _DEFECT_TRIES:
            # A defect, and the row owns the work: the keeper emits it again. Holding the partition would help nobody.
            log.error("record given up, left to the keeper", exc_info=error, **names)
            self._claimed(key, item)
            self._over(key, item, 0.0)
            return
        if self.ledger.is_open(item.entry) and not self._closing:
            lane.put_back(item)
            self._mark(key)
        else:
            lane.finish(item.tenant)
        if first:
            pause_s = backoff(failures - 1, base_s=_PAUSE_S, cap_s=_LONGEST_PAUSE_S)
            log.warning("lane paused", error=str(error), pause_s=round(pause_s, 2), exc_info=not outage, **names)
            lane.pause()
            asyncio.get_running_loop().call_later(pause_s, self._resume, key, lane)
        self._slots.give_back(key, item.tenant)
        self.deal()

    def _tried(self, entry: Entry) -> int:
        """Count by record: others of the lane, that are claimed in between, say nothing about this one."""
        self._defects[entry] = self._defects.get(entry, 0) + 1
        self._defects = {one: times for one, times in self._defects.items() if self.ledger.is_open(one)}
        return self._defects.get(entry, 0)

    def _resume(self, key: Partition, lane: Lane[P]) -> None:
        lane.resume()
        self._tidy(key)
        self.deal()

    def _signal(self, key: Partition) -> None:
        if not self.ledger.assigned(key):
            return
        match self._lanes[key].signal(self.ledger.gap(key)):
            case Signal.FULL:
                self._flow().on_buffer_full(key)
            case Signal.ROOM:
                self._flow().on_buffer_drop(key)

    def _tidy(self, key: Partition) -> None:
        lane = self._lanes.get(key)
        if lane is not None and lane.idle and not self.ledger.assigned(key):
            del self._lanes[key]
            self._failures.pop(key, None)
            self._slots.forget(key)
