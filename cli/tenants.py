"""`medialane tenants`: make and list tenants."""

import click
import msgspec

from cli.database import in_transaction
from connectors.postgres.tenants import create_tenant, list_tenants


@click.group()
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
        click.echo(f"{tenant.id}  {tenant.created_at:%Y-%m-%d %H:%M}  {tenant.slug}")
