"""Numbers as they are typed: click takes `nan` and `inf` for numbers, and any number of digits."""

from typing import Any

import click

MOST_ROWS = 1_000_000
"""Most rows of a list; Postgres takes no LIMIT beyond a bigint."""

MOST_INT, MOST_BIGINT = 2**31 - 1, 2**63 - 1
"""What a column of that type can hold."""

MOST_DAYS = 36_500
"""A hundred years, where days or hours become a point in time: those of calendars end."""


class Finite(click.FloatRange):
    """A number in a range, which NaN and infinity are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; fails with what was expected."""
        number: float = super().convert(value, param, ctx)
        if not abs(number) < float("inf"):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
