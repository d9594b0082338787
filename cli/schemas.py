"""`medialane schemas`: the published contracts, made from the code and committed, and whether they are current."""

from pathlib import Path

import click

from api.document.offline import FILE, openapi_text
from cli.common.groups import Commands
from schemas.generate import FOLDER, documents, outdated, write

_FOLDER = click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default=FOLDER, help="Instead of schemas/generated."
)


@click.group(cls=Commands)
def schemas() -> None:
    """JSON Schema of every payload, AsyncAPI of topics and webhooks, OpenAPI of the API."""


@schemas.command()
@_FOLDER
def generate(folder: Path) -> None:
    """Write every document."""
    wanted = _wanted()
    write(folder, wanted)
    click.echo(f"{len(wanted)} documents written to {folder}", err=True)


@schemas.command()
@_FOLDER
def check(folder: Path) -> None:
    """Exit with 1 if a committed document is not what the code says."""
    stale = outdated(folder, _wanted())
    for name in stale:
        click.echo(f"{name} is out of date: run `medialane schemas generate`", err=True)
    raise SystemExit(1 if stale else 0)


def _wanted() -> dict[str, str]:
    return documents() | {FILE: openapi_text()}
