"""`medialane migrate`: bring the database's tables to this release."""

import os
from collections.abc import Sequence

import click
import psycopg
import sqlalchemy as sa

import migrations
from migrations.runner import Step, head, newer, next_steps, pending
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import MigrationSettings, SettingsError, load, variable


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
        raise _away(str(error.orig)) from error
    except sa.exc.ProgrammingError as error:
        if error.statement is not None:
            raise
        raise SettingsError([f"{variable(MigrationSettings, 'database_url')}: {error.orig}"]) from error
    except psycopg.OperationalError as error:  # within a step, whose script goes straight to the driver
        raise _away(str(error)) from error


def _away(said: str) -> MedialaneError:
    return MedialaneError(
        ErrorCode.DATABASE_UNAVAILABLE, f"The database does not answer: {said.strip().splitlines()[0]}"
    )


def _migrate(settings: MigrationSettings, phase: migrations.Phase, *, dry_run: bool) -> None:
    if (at := newer(settings.database_url)) is not None:
        click.echo(
            f"the database is at {at}, newer than this release ({head()}): nothing to apply. A release runs on the "
            "tables of the next one, but not once that one's contract steps are applied"
        )
        return
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
