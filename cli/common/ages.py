"""What operators' commands on many rows share: points in time as people give them, a pace, progress."""

import asyncio
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TELL_EVERY_S = 2.0


class When(click.ParamType):
    """A point in time: an age (`90s`, `30m`, `2h`, `7d`: that long ago), or an ISO date or time (UTC by default)."""

    name = "age or date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it; fails with what was expected."""
        if isinstance(value, datetime):
            return value
        try:
            if (age := _AGE.fullmatch(value)) is not None:
                return datetime.now(UTC) - timedelta(seconds=float(age[1]) * _UNITS[age[2]])
        except OverflowError:
            self.fail(f"{value!r} is before the year 1.", param, ctx)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no age (90s, 30m, 2h, 7d) and no ISO date (2026-01-31).", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


WHEN = When()


class Pace:
    """Lets `step` return at most `rate` times in a second, and says on standard error how far the work is."""

    def __init__(self, rate: float, total: int) -> None:
        self._pause_s = 1.0 / rate
        self._total = total
        self._done = 0
        self._next = self._told = time.monotonic()

    async def step(self) -> None:
        """Wait for the next one's turn."""
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            print(f"{self._done} of {self._total} ...", file=sys.stderr)
        self._done += 1
        await asyncio.sleep(max(0.0, self._next - now))
        self._next = max(self._next, now) + self._pause_s
