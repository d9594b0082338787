"""`medialane migrate`: bring the database's tables to this release."""

import os

import click

import migrations
from migrations.runner import pending
from schemas.settings import MigrationSettings, load, variable


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be applied, and change nothing.")
@click.option("--database-url", help="Postgres address of the owner role, instead of MEDIALANE_MIGRATION_DATABASE_URL.")
def migrate(dry_run: bool, database_url: str | None) -> None:
    """Apply pending migrations. Two at once are safe: the second waits, then finds nothing to do.

    A step that drops or rewrites data runs only with MEDIALANE_MIGRATION_ALLOW_DESTRUCTIVE=true.
    """
    env = dict(os.environ)
    if database_url is not None:
        env[variable(MigrationSettings, "database_url")] = database_url
    settings = load(MigrationSettings, env)
    if dry_run:
        waiting = pending(settings.database_url)
        click.echo(f"would apply: {', '.join(waiting)}" if waiting else "nothing to apply")
        return
    applied = migrations.upgrade(settings.database_url, allow_destructive=settings.allow_destructive)
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to apply")
