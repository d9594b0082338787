"""Whether a lease that is over in the database says that its holder is gone."""

import time
from collections.abc import Callable

_LEAP_S = 2.0
"""What Postgres' clock may differ from ours between two rounds without having been set, or stopped with its host."""


class Settled:
    """Not while whoever lives has not had a lease's time to renew: after the database was away, or its clock leapt."""

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._away = False
        self._since = float("-inf")
        self._apart: float | None = None
        self._took_s = 0.0

    def lost(self) -> None:
        """The database did not answer."""
        self._away = True

    def answered(self, at: float, *, took_s: float = 0.0) -> bool:
        """It did, after `took_s`, within which its clock showed `at`, seconds; returns whether leases count.

        A slow answer is no leap of the clock. One that took half of a lease was a slow one for whoever renews, too.
        """
        now = self._clock()
        apart = at - now
        unsure_s = _LEAP_S + max(took_s, self._took_s)
        leapt = self._apart is not None and abs(apart - self._apart) > unsure_s
        if self._away or leapt or took_s > self._lease_s / 2:
            self._since = now
        self._away, self._apart, self._took_s = False, apart, took_s
        return now - self._since >= self._lease_s
