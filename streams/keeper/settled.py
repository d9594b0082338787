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

    def lost(self) -> None:
        """The database did not answer."""
        self._away = True

    def answered(self, at: float) -> bool:
        """It did, when its clock showed `at`, seconds; returns whether leases count."""
        now = self._clock()
        apart = at - now
        leapt = self._apart is not None and abs(apart - self._apart) > _LEAP_S
        if self._away or leapt:
            self._since = now
        self._away, self._apart = False, apart
        return now - self._since >= self._lease_s
