"""`medialane uploads`: find and remove what uploads left behind."""

import asyncio
import os

import click
import msgspec

from cli.sweeping import Sweeper, Swept
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings, ObjectStoreSettings, load

_LEAST_HOURS = 1.0


@click.group()
def uploads() -> None:
    """What uploads left behind.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role; the bucket that of MEDIALANE_S3_*.
    """


@uploads.command()
@click.option(
    "--older-than-hours",
    "hours",
    type=click.FloatRange(min=_LEAST_HOURS),
    default=24.0,
    show_default=True,
    help="Only what is that old: an upload from the end of its last address, an object from its writing.",
)
@click.option("--orphans/--no-orphans", default=True, show_default=True, help="Look for objects without a row, too.")
@click.option("--apply", "apply_it", is_flag=True, help="Remove; without this, only say what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as a JSON object.")
def sweep(hours: float, orphans: bool, apply_it: bool, as_json: bool) -> None:
    """Remove uploads that nobody completed, and objects that no row knows. Nothing is removed without --apply."""
    swept = asyncio.run(_sweep(hours * 3600, orphans=orphans, apply_it=apply_it))
    if as_json:
        click.echo(msgspec.json.encode(swept).decode())
        return
    click.echo(
        f"{'removed' if apply_it else 'would remove'} {swept.uploads} abandoned uploads ({swept.upload_bytes:,} bytes "
        f"announced) and {swept.objects} orphaned objects ({swept.object_bytes:,} bytes)"
    )
    if not apply_it:
        click.echo("Nothing was removed: say --apply.", err=True)


async def _sweep(age_s: float, *, orphans: bool, apply_it: bool) -> Swept:
    settings = msgspec.structs.replace(load(DatabaseSettings, os.environ), pool_size=1)
    async with (
        Database(settings, application="cli") as database,
        S3ObjectStore(load(ObjectStoreSettings, os.environ)) as store,
    ):
        sweeper = Sweeper(database, store, age_s=age_s, apply=apply_it, tell=lambda line: click.echo(line, err=True))
        await sweeper.uploads()
        if orphans:
            await sweeper.orphans()
        return sweeper.swept
