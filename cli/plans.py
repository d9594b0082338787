"""`medialane plans`: what tenants may use, as data."""

import click
import msgspec

from cli.common.database import in_transaction
from cli.common.groups import Commands
from cli.common.numbers import MOST_BIGINT, MOST_INT
from connectors.postgres.accounts.plans import Plan, list_plans, put_plan
from connectors.postgres.audit import operator


@click.group(cls=Commands)
def plans() -> None:
    """Plans: request rates and quotas. `medialane tenants plan` puts a tenant on one.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role.
    """


@plans.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(as_json: bool) -> None:
    """List plans by name."""
    found = in_transaction(list_plans)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for plan in found:
        limits = msgspec.structs.asdict(plan)
        name = limits.pop("name")
        said = ", ".join(f"{what.replace('_', ' ')} {limit:,}" for what, limit in limits.items() if limit is not None)
        click.echo(f"{name:<14}  {said or 'no limits'}")


@plans.command("set")
@click.argument("name")
@click.option("--rate", "requests_per_s", type=click.IntRange(1, MOST_INT), help="Requests per second; with --burst.")
@click.option("--burst", "request_burst", type=click.IntRange(1, MOST_INT), help="Requests that may come at once.")
@click.option("--assets", "max_assets", type=click.IntRange(0, MOST_BIGINT), help="Most assets.")
@click.option("--bytes", "max_bytes", type=click.IntRange(0, MOST_BIGINT), help="Most bytes of uploads, together.")
@click.option("--uploads", "max_uploads", type=click.IntRange(1, MOST_INT), help="Most open uploads at a time.")
def put(name: str, **limits: int | None) -> None:
    """Make the plan NAME, or change it for all of its tenants. What is left out has no limit."""
    if (limits["requests_per_s"] is None) != (limits["request_burst"] is None):
        raise click.UsageError("--rate and --burst belong together")
    in_transaction(lambda connection: put_plan(connection, Plan(name=name, **limits), actor=operator()))
    click.echo(f"Plan {name} is in force; API processes follow within seconds.", err=True)
