"""`medialane audit`: who did what."""

import contextlib
from datetime import datetime
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.ages import WHEN
from cli.common.database import in_transaction
from cli.common.groups import Commands
from cli.common.numbers import MOST_ROWS
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.audit import AuditEntry, read
from schemas.errors import MedialaneError


@click.group(cls=Commands)
def audit() -> None:
    """The audit log: what operators, tenants' keys and the keeper did.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role. AGE is 90s, 30m, 2h, 7d (that long
    ago) or an ISO date.
    """


@audit.command("ls")
@click.option("--tenant", help="Only of this tenant: its slug, or the id of one that was deleted.")
@click.option("--action", help="Only acts of this name, such as key.mint or dlq.replay.")
@click.option("--since", type=WHEN, metavar="AGE", help="Only as young as this.")
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True, help="Most entries, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(tenant: str | None, action: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """List what was done, newest first, as long as it is kept (MEDIALANE_KEEPER_AUDIT_RETENTION_S)."""

    async def work(connection: AsyncConnection) -> tuple[AuditEntry, ...]:
        tenant_id = None if tenant is None else await _tenant_id(connection, tenant)
        return await read(connection, limit=limit, tenant_id=tenant_id, action=action, since=since)

    found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for entry in found:
        _tell(entry)
    if not found:
        click.echo("no entries", err=True)
    elif len(found) == limit:
        click.echo(f"the newest {limit}: --limit shows more", err=True)


async def _tenant_id(connection: AsyncConnection, said: str) -> UUID:
    try:
        return (await find_tenant(connection, said)).id
    except MedialaneError:
        with contextlib.suppress(ValueError):
            return UUID(said)  # entries outlive their tenant, and with it its slug
        raise


def _tell(entry: AuditEntry) -> None:
    whose = entry.tenant or entry.tenant_id or "-"
    detail = msgspec.json.encode(entry.detail).decode() if entry.detail else ""
    words = (f"{entry.at:%Y-%m-%d %H:%M:%S}", whose, entry.actor, entry.action, entry.subject or "-", detail)
    click.echo("  ".join(map(str, words)).rstrip())
