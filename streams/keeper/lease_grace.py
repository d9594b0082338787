"""Whether a lease that is over in the database says that its holder is gone."""

import asyncio
import time
from collections.abc import Callable

from connectors.postgres.database import Database
from connectors.postgres.locks import AS_A_HEARTBEAT
from schemas.errors import MedialaneError

_LEAP_S = 2.0
"""What Postgres' clock may differ from ours between two answers without having been set, or stopped with its host."""


class LeaseGrace:
    """Over once every holder that lives has had a whole lease's time to renew: since the database was away, jobs were
    locked, or the clock leapt.

    It is asked apart from the rounds: a rule that takes long, or fails again and again, says nothing of leases.
    """

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lease_s = lease_s
        self._interval_s = interval_s
        self._clock = clock
        self._asked_at: float | None = None
        self._away = False
        self._since = float("-inf")
        self._apart: float | None = None
        self._took_s = 0.0

    @property
    def over(self) -> bool:
        """Whether leases count."""
        now = self._clock()
        hangs = self._asked_at is not None and now - self._asked_at > self._lease_s / 2
        return not self._away and not hangs and now - self._since >= self._lease_s

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.ask()
            await asyncio.sleep(self._interval_s)

    async def ask(self) -> None:
        """Ask the database once for its time, as one asks who renews leases."""
        self._asked_at = self._clock()
        try:
            at = await self._database.time(behind=AS_A_HEARTBEAT)
        except MedialaneError:
            self._away = True  # the rounds, which meet it, too, tell of it
        else:
            self._answered(at, self._clock() - self._asked_at)
        finally:
            self._asked_at = None

    def _answered(self, at: float, took_s: float) -> None:
        # A slow answer is no leap of the clock; one that took half of a lease was a slow one for whoever renews, too.
        now = self._clock()
        apart, unsure_s = at - now, _LEAP_S + max(took_s, self._took_s)
        leapt = self._apart is not None and abs(apart - self._apart) > unsure_s
        if self._away or leapt or took_s > self._lease_s / 2:
            self._since = now
        self._away, self._apart, self._took_s = False, apart, took_s
