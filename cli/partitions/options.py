"""Options and words that the `partitions` commands share."""

import re
from collections.abc import Iterable, Sequence

import click

from cli.common.numbers import MOST_DAYS
from schemas.topics import TOPICS

PLACED = tuple(topic.route for topic in TOPICS if topic.placed)

_LARGEST = 10_000  # credits; of partitions, workers and slots far fewer make sense
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType):
    """`90s`, `15m`, `24h`, `7d`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no duration; write 90s, 15m, 24h or 7d", param, ctx)
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > MOST_DAYS * 86_400:
            self.fail(f"{value!r} is more than {MOST_DAYS} days", param, ctx)
        return seconds


class Numbers(click.ParamType):
    """`3` or `1,5`: whole numbers from 0, comma separated."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of partitions; write 3, or 1,5", param, ctx)
        if min(numbers) < 0:
            self.fail("partitions are counted from 0", param, ctx)
        if max(numbers) > _LARGEST:
            self.fail(f"{max(numbers)} is more than {_LARGEST}", param, ctx)
        return numbers


WINDOW = click.option(
    "--window", type=Duration(), default="24h", show_default=True, help="How far back jobs are counted, by their end."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows in columns; what is a number goes to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[index]) for line in [list(headings), *cells]) for index in range(len(headings))]
    right = [bool(cells) and all(re.fullmatch(r"[-+\d.,%x ]*", row[index]) for row in cells) for index in range(len(widths))]  # fmt: skip  # noqa: E501
    lines = [list(headings), *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
