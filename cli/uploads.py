"""`medialane uploads`: find and remove what uploads left behind."""

import asyncio
import os
from datetime import timedelta

import click
import msgspec
from prometheus_client import CollectorRegistry

from cli.common.database import worker_database
from cli.common.groups import Commands
from cli.common.numbers import MOST_DAYS, Finite
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres import audit
from connectors.telemetry.metrics import Metrics
from schemas.settings import KeeperSettings, ObjectStoreSettings, load
from streams.bucket import Bucket
from streams.keeper.abandoned import AbandonedUploads
from streams.keeper.orphans import Orphans

_LEAST_HOURS = 1.0


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and removed unless it was a dry run; `looked_at`: objects that are old enough."""

    uploads: int
    upload_bytes: int
    looked_at: int = 0
    objects: int = 0
    object_bytes: int = 0


@click.group(cls=Commands)
def uploads() -> None:
    """What uploads left behind.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role; the bucket that of MEDIALANE_S3_*.
    """


@uploads.command()
@click.option(
    "--older-than-hours",
    "hours",
    type=Finite(_LEAST_HOURS, MOST_DAYS * 24),
    default=24.0,
    show_default=True,
    help="Only what is that old: an upload from the end of its last address, an object from its writing.",
)
@click.option("--orphans/--no-orphans", default=True, show_default=True, help="Look for objects without a row, too.")
@click.option("--apply", "apply_it", is_flag=True, help="Remove; without this, only say what would be.")
@click.option("--force", is_flag=True, help="Remove orphans, however large a share they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as a JSON object.")
def sweep(hours: float, orphans: bool, apply_it: bool, force: bool, as_json: bool) -> None:
    """Remove uploads that nobody completed, and objects that no row knows; the keeper does so by itself.

    Nothing is removed without --apply. It stops where more than a fifth of what it meets is of uploads of which no row
    knows anything, as with a database that was restored; --force goes on.
    """
    swept = asyncio.run(_sweep(timedelta(hours=hours), orphans=orphans, apply_it=apply_it, force=force))
    if as_json:
        click.echo(msgspec.json.encode(swept).decode())
        return
    click.echo(
        f"{'removed' if apply_it else 'would remove'} {swept.uploads} abandoned uploads ({swept.upload_bytes:,} bytes "
        f"announced) and {swept.objects:,} orphaned objects ({swept.object_bytes:,} bytes) of {swept.looked_at:,}"
    )
    if not apply_it:
        click.echo("Nothing was removed: say --apply.", err=True)


@uploads.command("adopt-bucket")
@click.option("--apply", "apply_it", is_flag=True, help="Mark it; without this, only say how it is marked.")
def adopt_bucket(apply_it: bool) -> None:
    """Mark the bucket as this database's, whatever it is marked as: what no row of this database knows is removed then.

    The keeper marks a bucket by itself that bears no mark yet, unless it holds objects while no upload was ever
    completed here.
    """
    asyncio.run(_adopt(apply_it=apply_it))


async def _adopt(*, apply_it: bool) -> None:
    async with (
        worker_database() as database,
        S3ObjectStore(load(ObjectStoreSettings, os.environ)) as store,
    ):
        bucket = Bucket(database, store)
        await store.check()  # a bucket that is not there bears no mark, either
        borne = await bucket.bears()
        click.echo("the bucket bears no mark" if borne is None else f"the bucket is marked as installation {borne}'s")
        if not apply_it:
            click.echo("Nothing was changed: say --apply.", err=True)
            return
        ours = str(await bucket.adopt())
        async with database.transaction() as connection:
            await audit.note(
                connection, actor=audit.operator(), action="bucket.adopt", subject=ours, detail={"was": borne}
            )
        click.echo(f"it is installation {ours}'s now")


async def _sweep(age: timedelta, *, orphans: bool, apply_it: bool, force: bool) -> Swept:
    async with (
        worker_database() as database,
        S3ObjectStore(load(ObjectStoreSettings, os.environ)) as store,
    ):
        keeping = database, store, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper")
        uploads = await AbandonedUploads(*keeping).sweep(
            age,
            dry_run=not apply_it,
            tell=lambda found: click.echo(f"abandoned upload {found.id}, {found.size} bytes announced", err=True),
        )
        if not orphans:
            return Swept(uploads=uploads.uploads, upload_bytes=uploads.size)
        objects = await Orphans(*keeping).sweep(
            age,
            dry_run=not apply_it,
            force=force,
            tell=lambda found: click.echo(f"orphaned object {found.key}, {found.size} bytes", err=True),
        )
    return Swept(
        uploads=uploads.uploads, upload_bytes=uploads.size, looked_at=objects.old, objects=objects.orphans,
        object_bytes=objects.size,
    )  # fmt: skip
