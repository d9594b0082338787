"""`KEY=VALUE` on the command line, several times: an asset's metadata."""

from collections.abc import Callable, Sequence
from typing import Any

import click


class Entry(click.ParamType):
    """A pair of texts; the value may be empty, and may hold more equals signs."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read it; fails with what was expected."""
        if isinstance(value, tuple):
            return str(value[0]), str(value[1])
        key, equals, rest = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE.", param, ctx)
        return key, rest


def _one_value_each(_: click.Context, __: click.Parameter, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for name, value in pairs:
        if entries.setdefault(name, value) != value:
            raise click.BadParameter(f"{name!r} has one value, not {entries[name]!r} and {value!r}.")
    return entries


def with_about(tags: str, metadata: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a click command `--tag` (as `tags`) and `--metadata` (values by name), each with its help."""

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--metadata", type=Entry(), multiple=True, callback=_one_value_each, metavar="KEY=VALUE", help=metadata
        )(command)
        return click.option("--tag", "tags", multiple=True, metavar="TAG", help=tags)(command)

    return give
