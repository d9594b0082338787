"""`medialane migrate`: bring the database's tables to this release."""

import os
from collections.abc import Sequence

import click
import sqlalchemy as sa

import migrations
from migrations.runner import Step, next_steps, pending
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import MigrationSettings, load, variable


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be applied, and change nothing.")
@click.option(
    "--phase",
    type=click.Choice(["expand", "contract", "all"]),
    default="all",
    show_default=True,
    help="expand: what only adds, before the new code starts. contract: what takes away, when no older code is left.",
)
@click.option("--database-url", help="Postgres address of the owner role, instead of MEDIALANE_MIGRATION_DATABASE_URL.")
def migrate(dry_run: bool, phase: migrations.Phase, database_url: str | None) -> None:
    """Apply pending migrations. Two at once are safe: the second waits, then finds nothing to do.

    While processes run, upgrade in three steps: --phase expand, then the new code, then --phase contract. A step that
    drops or rewrites data runs only with MEDIALANE_MIGRATION_ALLOW_DESTRUCTIVE=true.
    """
    env = dict(os.environ)
    if database_url is not None:
        env[variable(MigrationSettings, "database_url")] = database_url
    settings = load(MigrationSettings, env)
    try:
        _migrate(settings, phase, dry_run=dry_run)
    except sa.exc.OperationalError as error:
        if error.statement is not None and not error.connection_invalidated:
            raise
        said = str(error.orig).strip().splitlines()[0]
        raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, f"The database does not answer: {said}") from error


def _migrate(settings: MigrationSettings, phase: migrations.Phase, *, dry_run: bool) -> None:
    if dry_run:
        steps = next_steps(pending(settings.database_url), phase)
        click.echo(f"would apply: {_names(steps)}" if steps else "nothing to apply")
        return
    applied = migrations.upgrade(settings.database_url, phase=phase, allow_destructive=settings.allow_destructive)
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to apply")
    if left := pending(settings.database_url):
        click.echo(f"still pending: {_names(left)}")


def _names(steps: Sequence[Step]) -> str:
    return ", ".join(f"{step.revision} ({step.phase})" for step in steps)
