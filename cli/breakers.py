"""`medialane breakers`: tenants whose jobs are held back, by their dead letters or by hand."""

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.groups import Commands
from connectors.postgres import audit
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.protocol.breakers import list_breakers, set_breaker


@click.group(cls=Commands)
def breakers() -> None:
    """Breakers: a tenant over its dead-letter budget has its jobs wait, and nobody else is touched.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role; the keeper acts on it.
    """


@breakers.command("ls")
@click.option("--all", "everything", is_flag=True, help="Also those that are closed by now.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(everything: bool, as_json: bool) -> None:
    """List the breakers that are open or half open: one job of a half-open one is being tried."""
    found = in_transaction(lambda connection: list_breakers(connection, everything=everything))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for one in found:
        until = "until closed by hand" if one.held else f"next try {one.retry_at:%H:%M:%S} UTC" if one.retry_at else ""
        click.echo(f"{one.slug}  {one.state.value}  {one.waiting} jobs wait  {until}  {one.cause}".rstrip())
    if not found:
        click.echo("every breaker is closed", err=True)


@breakers.command("open")
@click.argument("tenant")
@click.option("--why", default="", help="For those who ask later.")
def open_(tenant: str, why: str) -> None:
    """Hold the jobs of TENANT (its slug) back until its breaker is closed by hand. What runs goes on."""
    _set(tenant, held=True, why=why)
    click.echo(f"{tenant}: held; its jobs wait from the keeper's next round on")


@breakers.command()
@click.argument("tenant")
def close(tenant: str) -> None:
    """Let the jobs of TENANT (its slug) go on now. Dead letters until now are not counted again."""
    _set(tenant, held=False)
    click.echo(f"{tenant}: closed; its jobs go on from the keeper's next round on")


def _set(tenant: str, *, held: bool, why: str = "") -> None:
    async def work(connection: AsyncConnection) -> None:
        found = await find_tenant(connection, tenant)
        await set_breaker(connection, found.id, held=held, actor=audit.operator(), why=why)

    in_transaction(work)
