"""The truth about a worker: is the database there, is it in its group, does it still read what it could work on.

What nothing inside can mend ends the process, with a reason in the log, so that its supervisor starts it again.
"""

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from connectors.postgres.database import Database
from schemas.errors import MedialaneError
from streams.core.ledger import Partition
from streams.lanes import Lanes
from streams.member import Member

log = structlog.get_logger(__name__)

_PING_INTERVAL_S, _FRESH_S = 3.0, 15.0
_STUCK_LOOP_EXIT = 70


class UnhealthyError(Exception):
    """The worker is in a state that it cannot leave by itself."""


class DatabasePulse:
    """Asks the database now and then whether it is there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answered: float | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                await self._database.check()
                self._answered = time.monotonic()
            except MedialaneError as error:
                log.warning("the database does not answer", error=str(error))
            await asyncio.sleep(_PING_INTERVAL_S)

    def problems(self) -> Sequence[str]:
        """Why the worker is not ready."""
        if self._answered is None:
            return ["the database has not answered yet"]
        age = time.monotonic() - self._answered
        return [f"the database last answered {age:.0f} s ago"] if age > _FRESH_S else []


class AssignmentWatch:
    """Raises `UnhealthyError` when a member has had no assignment from its group, not even an empty one, for
    `patience_s`: as when its topic was deleted and made anew while the group rebalanced. While no broker has answered
    yet, ending would mend nothing. Raises it at once when the consumer has stopped fetching: it would keep its
    partitions, and take the end that it saw last for the end.
    """

    def __init__(
        self,
        member: Member,
        *,
        patience_s: float = 60.0,
        interval_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._member = member
        self._patience_s = patience_s
        self._interval_s = interval_s
        self._clock = clock
        self._well = self._looked = clock()

    async def run(self) -> None:
        """Look until it has lasted for too long."""
        while True:
            self.look()
            await asyncio.sleep(self._interval_s)

    def look(self) -> None:
        """Look once. Raises `UnhealthyError`."""
        if not self._member.fetching:
            raise UnhealthyError("the consumer has stopped fetching, though its process and its membership go on")
        now = self._clock()
        # This process may have stood still (SIGSTOP, a laptop's lid): what it missed is nobody's fault.
        fine = self._member.joined or self._member.awaits_broker
        if fine or now - self._looked > self._interval_s * 5:
            self._well = now
        self._looked = now
        if now - self._well > self._patience_s:
            raise UnhealthyError(f"no assignment from the consumer group for {now - self._well:.0f} s")


class Watchdog:
    """Raises `UnhealthyError` when the worker has no partitions from its group, or stopped reading, for `patience_s`.

    Reading has stopped where a partition has records, its lane is empty, slots are free, and nothing moves.
    """

    def __init__(
        self,
        member: Member,
        lanes: Lanes[Any, Any],
        *,
        patience_s: float = 60.0,
        interval_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._member = member
        self._lanes = lanes
        self._patience_s = patience_s
        self._interval_s = interval_s
        self._clock = clock
        self._assignment = AssignmentWatch(member, patience_s=patience_s, interval_s=interval_s, clock=clock)
        self._looked = clock()
        self._moved: dict[Partition, tuple[int | None, float]] = {}

    async def run(self) -> None:
        """Look until something is wrong for too long."""
        while True:
            self.look()
            await asyncio.sleep(self._interval_s)

    def look(self) -> None:
        """Look once. Raises `UnhealthyError`."""
        now = self._clock()
        if now - self._looked > self._interval_s * 5:
            self._moved = {}  # it stood still, as above
        self._looked = now
        self._assignment.look()
        idle = [key for key in self._lanes.ledger.partitions if self._starved(key)]
        self._moved = {key: self._moved.get(key, (None, now)) for key in idle}
        for key in idle:
            position = self._member.position(key)
            before, since = self._moved[key]
            if position != before:
                self._moved[key] = (position, now)
            elif now - since > self._patience_s:
                raise UnhealthyError(
                    f"{key.topic}/{key.partition} has records that were not read for {now - since:.0f} s"
                )

    def _starved(self, key: Partition) -> bool:
        return self._member.behind(key) and not self._lanes.lanes[key].waiting and self._lanes.slots.free > 0


class LoopWatch:
    """A thread that ends the process when an event loop has not run for `patience_s`: nothing inside the loop could.

    It watches the loop of `run`, and that of `other`, if there is one and it runs: the consumer has a thread and a loop
    of its own. It prints every thread's stack first. Leases expire, and others take the work over.
    """

    def __init__(
        self,
        other: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None,
        *,
        patience_s: float = 30.0,
        interval_s: float = 1.0,
    ) -> None:
        self._other = other
        self._patience_s = patience_s
        self._interval_s = interval_s
        self._beat = self._other_beat = time.monotonic()
        self._stop = threading.Event()

    async def run(self) -> None:
        """Watch this event loop until cancelled."""
        threading.Thread(target=self._watch, name="loop-watch", daemon=True).start()
        try:
            while True:
                self._beat = time.monotonic()
                await asyncio.sleep(self._interval_s)
        finally:
            self._stop.set()

    def _watch(self) -> None:
        seen = time.monotonic()
        while not self._stop.wait(self._interval_s):
            now = time.monotonic()
            # The whole process may have been stopped (SIGSTOP, a laptop's lid): then this thread was late as well.
            if now - seen > self._interval_s * 5:
                self._beat = self._other_beat = now
            seen = now
            self._ask_other()
            if now - min(self._beat, self._other_beat) > self._patience_s:
                faulthandler.dump_traceback(file=sys.stderr)
                os._exit(_STUCK_LOOP_EXIT)

    def _ask_other(self) -> None:
        loop = self._other()
        if loop is None or not loop.is_running():
            self._hear_other()
            return
        with contextlib.suppress(RuntimeError):  # it was closed just now
            loop.call_soon_threadsafe(self._hear_other)

    def _hear_other(self) -> None:
        self._other_beat = time.monotonic()
