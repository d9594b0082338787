"""`medialane assets cancel` and `remove`: what operators do in the database, for whichever tenant it is."""

from uuid import UUID

import click
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from connectors.postgres import audit
from connectors.postgres.protocol import cancel
from schemas.errors import ErrorCode, MedialaneError

_FIND = sa.text("""
    SELECT a.tenant_id, t.slug, a.state, a.size, (SELECT count(*) FROM variants v WHERE v.asset_id = a.id) AS variants,
        (SELECT count(*) FROM jobs j WHERE j.asset_id = a.id AND j.state IN ('waiting', 'queued', 'running')) AS jobs
    FROM assets a JOIN tenants t ON t.id = a.tenant_id WHERE a.id = :id AND a.state <> 'deleted'
""")


@click.command("cancel")
@click.argument("asset_id", type=click.UUID)
@click.option("--dry-run", is_flag=True, help="Say what would end, and change nothing.")
def cancel_asset(asset_id: UUID, dry_run: bool) -> None:
    """Operators: end the jobs of ASSET_ID, of any tenant; a running child is killed at its worker's next heartbeat.

    Needs MEDIALANE_DATABASE_URL (worker role), not the API.
    """

    async def work(connection: AsyncConnection) -> str:
        found = await _find(connection, asset_id)
        ended = await cancel.cancel_asset(connection, found.tenant_id, asset_id, actor=audit.operator())
        if dry_run:  # it is refused for whatever would be refused
            await connection.rollback()
            return f"would cancel asset {asset_id} of {found.slug} ({found.state}) and end {ended} jobs"
        return f"cancelled, {ended} jobs ended"

    click.echo(in_transaction(work))


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


async def _find(connection: AsyncConnection, asset_id: UUID) -> sa.Row[tuple[UUID, str, str, int, int, int]]:
    row = (await connection.execute(_FIND, {"id": asset_id})).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no asset {asset_id}.")
    return row
