"""`medialane secrets`: which key what is stored was sealed under, and sealing it anew."""

import asyncio
import os
import sys

import click
import msgspec

from cli.common.database import worker_database
from cli.common.groups import Commands
from connectors.postgres import audit
from connectors.postgres.accounts import sealed
from connectors.postgres.database import Database
from connectors.secrets import SecretBox
from schemas.settings import WebhookSettings, load

_PAGE = 200


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found: the present key, rows under others by place that a key opens (sealed anew unless it was a dry
    run), and how many no key opens.
    """

    key: str
    rows: dict[str, int]
    unreadable: int = 0


@click.group(cls=Commands)
def secrets() -> None:
    """What is stored encrypted: webhook secrets, and answers that are kept for an Idempotency-Key.

    Takes MEDIALANE_DATABASE_URL (under the worker role), MEDIALANE_WEBHOOK_ENCRYPTION_KEY and ..._OLD.
    """


@secrets.command()
@click.option("--apply", "apply_it", is_flag=True, help="Write; without this, only say what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def rotate(*, apply_it: bool, as_json: bool) -> None:
    """Seal everything under the present key that was sealed under an old one. Nothing is written without --apply.

    Run it when every process has the present key; afterwards the old ones may go from the settings. It may be stopped
    and repeated. The exit code is 1 if something can be opened by none of the keys.
    """
    found = asyncio.run(_rotate(apply_it=apply_it))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        counts = ", ".join(f"{count} {name}" for name, count in found.rows.items())
        click.echo(f"{'sealed' if apply_it else 'would seal'} anew under key {found.key}: {counts}")
        if not apply_it:
            click.echo("Nothing was written: say --apply.", err=True)
    if found.unreadable:
        click.echo(f"medialane: {found.unreadable} can be opened by none of the keys, and stay as they are", err=True)
        sys.exit(1)


async def _rotate(*, apply_it: bool) -> Rotated:
    box = SecretBox.of(load(WebhookSettings, os.environ))
    rows, unreadable = {}, 0
    async with worker_database() as database:
        for place in sealed.PLACES:
            rows[place.name], lost = await _place(database, box, place, apply_it=apply_it)
            unreadable += lost
    return Rotated(key=box.key_id, rows=rows, unreadable=unreadable)


async def _place(database: Database, box: SecretBox, place: sealed.Place, *, apply_it: bool) -> tuple[int, int]:
    after: sealed.Cursor | None = sealed.FIRST
    done = unreadable = 0
    while after is not None:
        async with database.transaction() as connection:
            page = await sealed.reseal_page(
                connection, place, head=box.head, again=box.again, after=after, limit=_PAGE, write=apply_it
            )  # fmt: skip
            if page.done and apply_it:
                await audit.note(
                    connection, actor=audit.operator(), action="secrets.rotate", subject=box.key_id,
                    detail={"place": place.name, "rows": page.done},
                )  # fmt: skip
        done, unreadable, after = done + page.done, unreadable + page.unreadable, page.after
        click.echo(f"{place.name}: {done} {'sealed anew' if apply_it else 'opened'}", err=True)
    return done, unreadable
