"""`medialane tenants`: make and list tenants, put them on plans, say what share of the workers each has."""

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.groups import Commands
from cli.common.numbers import MOST_INT, Finite
from cli.tenant_removal import delete
from connectors.postgres import audit
from connectors.postgres.accounts.plans import assign_plan
from connectors.postgres.accounts.tenants import allow_origins, create_tenant, find_tenant, list_tenants
from connectors.postgres.audit import operator
from connectors.postgres.placement import tuning


@click.group(cls=Commands)
def tenants() -> None:
    """Tenants: every asset, key and webhook belongs to one.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role.
    """


@tenants.command()
@click.argument("slug")
@click.option("--json", "as_json", is_flag=True, help="Print the tenant as a JSON object.")
def create(slug: str, as_json: bool) -> None:
    """Make a tenant called SLUG (2 to 63 of a-z, 0-9 and '-') and give it its partitions."""
    try:
        tenant = in_transaction(lambda connection: create_tenant(connection, slug))
    except LookupError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(tenant).decode())
        return
    click.echo(tenant.id)
    click.echo(f"Tenant {slug} made. Next: medialane keys mint {slug}", err=True)


@tenants.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(as_json: bool) -> None:
    """List tenants by slug."""
    found = in_transaction(list_tenants)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for tenant in found:
        click.echo(f"{tenant.id}  {tenant.created_at:%Y-%m-%d %H:%M}  {tenant.plan:<12}  {tenant.slug}")


@tenants.command("plan")
@click.argument("slug")
@click.argument("name", required=False)
def plan_of(slug: str, name: str | None) -> None:
    """Put the tenant SLUG on the plan NAME; without NAME, say which it is on."""
    if name is None:
        click.echo(in_transaction(lambda connection: find_tenant(connection, slug)).plan)
        return
    in_transaction(lambda connection: assign_plan(connection, slug, name, actor=operator()))
    click.echo(f"Tenant {slug} is on the plan {name}; API processes follow within seconds.", err=True)


@tenants.command()
@click.argument("slug")
@click.option(
    "--weight", type=Finite(), help="CPU seconds for one of a tenant of weight 1, when both have work waiting."
)
@click.option("--cap", type=click.IntRange(0, MOST_INT), help="Most jobs at once in a lane (partition); 0: no bound.")
@click.option(
    "--credits", "credits_", type=click.IntRange(*tuning.CREDITS), help="Most jobs of a topic in Kafka at once."
)
@click.option("--reset", is_flag=True, help="Back to weight 1, no cap, 64 credits.")
@click.option("--dry-run", is_flag=True, help="Say what it would have, and change nothing.")
def share(
    slug: str, weight: float | None, cap: int | None, credits_: int | None, *, reset: bool, dry_run: bool
) -> None:
    """Show or change the share of tenant SLUG; what is not named stays as it is. Workers follow within seconds.

    Of the credits bulk jobs use at most an eighth; what is over them waits in its rows.
    """
    if reset and (weight, cap, credits_) != (None, None, None):
        raise click.UsageError("--reset stands alone")

    async def write(connection: AsyncConnection) -> tuning.Allotment:
        tenant = await find_tenant(connection, slug)
        before = await tuning.allotment(connection, tenant.id)
        if reset:
            await tuning.reset_share(connection, tenant.id)
        if weight is not None or cap is not None:
            await tuning.set_share(connection, tenant.id, weight=weight, cap=cap)
        if credits_ is not None:
            await tuning.set_credits(connection, tenant.id, credits_)
        now = await tuning.allotment(connection, tenant.id)
        if dry_run:
            await connection.rollback()
        elif now != before:
            detail = {"from": before._asdict(), "to": now._asdict()}
            await audit.note(
                connection, actor=operator(), action="tenant.share", tenant_id=tenant.id, subject=slug, detail=detail
            )
        return now

    found = in_transaction(write)
    would = "would have: " if dry_run else ""
    click.echo(f"{would}{slug}  weight {found.weight:g}  cap {found.cap or 'none'}  credits {found.credits}")


@tenants.command()
@click.argument("slug")
@click.argument("allowed", nargs=-1, metavar="[ORIGIN]...")
@click.option("--none", "nobody", is_flag=True, help="Allow no origin.")
def origins(slug: str, allowed: tuple[str, ...], nobody: bool) -> None:
    """Let browser pages of these ORIGINs (https://app.example, or '*') call the API with keys of the tenant SLUG.

    They replace those that were allowed before. Without any, say which are allowed.
    """
    if not allowed and not nobody:
        for origin in in_transaction(lambda connection: find_tenant(connection, slug)).allowed_origins:
            click.echo(origin)
        return
    in_transaction(lambda connection: allow_origins(connection, slug, allowed))
    click.echo(f"Pages of {', '.join(allowed) or 'no origin'} may call the API with keys of {slug}.", err=True)


tenants.add_command(delete)
