"""`medialane assets cancel` and `remove`: what operators do in the database, for whichever tenant it is."""

import asyncio
import os
from datetime import timedelta
from uuid import UUID

import click
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.database import in_transaction
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres import audit, cancel
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings, KeeperSettings, ObjectStoreSettings, load
from streams.keeper.purging import Purging, Swept

_FIND = sa.text("""
    SELECT a.tenant_id, t.slug, a.state, a.size, (SELECT count(*) FROM variants v WHERE v.asset_id = a.id) AS variants,
        (SELECT count(*) FROM jobs j WHERE j.asset_id = a.id AND j.state IN ('waiting', 'queued', 'running')) AS jobs
    FROM assets a JOIN tenants t ON t.id = a.tenant_id WHERE a.id = :id AND a.state <> 'deleted'
""")


@click.command("cancel")
@click.argument("asset_id", type=click.UUID)
def cancel_asset(asset_id: UUID) -> None:
    """Operators: end the jobs of ASSET_ID, of any tenant; a running child is killed at its worker's next heartbeat.

    Needs MEDIALANE_DATABASE_URL (worker role), not the API.
    """

    async def work(connection: AsyncConnection) -> int:
        found = await _find(connection, asset_id)
        return await cancel.cancel_asset(connection, found.tenant_id, asset_id, actor=audit.operator())

    click.echo(f"cancelled, {in_transaction(work)} jobs ended")


@click.command("remove")
@click.argument("asset_id", type=click.UUID)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and change nothing.")
def remove_asset(asset_id: UUID, dry_run: bool) -> None:
    """Operators: delete ASSET_ID, of any tenant: gone at once, its objects as soon as nothing else has the same bytes.

    Needs MEDIALANE_DATABASE_URL (worker role), not the API.
    """

    async def work(connection: AsyncConnection) -> str:
        found = await _find(connection, asset_id)
        what = f"asset {asset_id} of {found.slug} ({found.state}, {found.size} bytes, {found.variants} variants)"
        if dry_run:
            return f"would delete {what} and end {found.jobs} jobs"
        ended = await cancel.delete_asset(connection, found.tenant_id, asset_id, actor=audit.operator())
        return f"deleted {what}, {ended} jobs ended"

    click.echo(in_transaction(work))


@click.command("sweep")
@click.option("--older-than-hours", type=click.FloatRange(min=1), default=24.0, show_default=True, help="Age.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
def sweep_objects(older_than_hours: float, dry_run: bool) -> None:
    """Operators: remove objects from the store that no row refers to; the keeper does so every day.

    Needs MEDIALANE_DATABASE_URL (worker role) and MEDIALANE_S3_*.
    """
    swept = asyncio.run(_sweep(timedelta(hours=older_than_hours), dry_run=dry_run))
    told = "would remove" if dry_run else "removed"
    click.echo(f"{told} {swept.orphans} of {swept.objects} objects, {swept.size} bytes")


async def _sweep(age: timedelta, *, dry_run: bool) -> Swept:
    database_settings, store_settings = load(DatabaseSettings, os.environ), load(ObjectStoreSettings, os.environ)
    async with Database(database_settings, application="cli") as database, S3ObjectStore(store_settings) as store:
        metrics = Metrics(CollectorRegistry(), process="keeper")
        return await Purging(database, store, KeeperSettings(), metrics).sweep(age, dry_run=dry_run)


async def _find(connection: AsyncConnection, asset_id: UUID) -> sa.Row[tuple[UUID, str, str, int, int, int]]:
    row = (await connection.execute(_FIND, {"id": asset_id})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no asset {asset_id}.")
    return row
