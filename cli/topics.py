"""`medialane topics`: bring a Kafka cluster to the declared topics, and record in Postgres which partitions exist."""

import asyncio
import os
from pathlib import Path

import click
from psycopg.errors import UndefinedTable
from sqlalchemy import exc

from cli.common.groups import Commands
from connectors.kafka.admin import Change, TopicAdmin, TopicsError, refuse_fewer
from connectors.postgres.database import Database
from connectors.postgres.placement.placements import confirm_partitions, confirmed_partitions
from schemas.settings import DatabaseSettings, KafkaSettings, MigrationSettings, TopicsSettings, load, variable
from schemas.topics import TOPICS, Topic, TopicsFileError, declared

_FILE = click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that declares the topics (MEDIALANE_TOPICS_FILE; else the release's schemas/topics.toml).",
)  # fmt: skip


@click.group(cls=Commands)
def topics() -> None:
    """The topics, as schemas/topics.toml or a file of your own declares them: partitions, retention, copies.

    Topics are created and grown, never shrunk and never deleted; settings are brought to the file's.
    """


@topics.command()
@_FILE
def plan(file: Path | None) -> None:
    """Say what each topic needs, and change nothing: `~` will change, `=` will not, `!` differs and is left alone.

    Where MEDIALANE_MIGRATION_DATABASE_URL is set, fails if a topic would have fewer partitions than are recorded.
    """
    named = os.environ.get(variable(MigrationSettings, "database_url"))
    owner = load(MigrationSettings, os.environ) if named else None
    changes, recorded = asyncio.run(_plan(_admin(file), owner))
    for change in changes:
        click.echo(f"{'~' if change.needed else '!' if change.notes else '='} {change}")
    refuse_fewer(changes, recorded)
    needed = sum(change.needed for change in changes)
    click.echo(f"{needed} topics to change: medialane topics apply" if needed else "nothing to change", err=True)


@topics.command()
@_FILE
def apply(file: Path | None) -> None:
    """Make the topics, then record their partitions: the outbox may only name recorded ones.

    May be repeated, and run twice at once. Changes nothing if a topic would have fewer than are recorded:
    of a cluster that was made anew, apply the file that its topics had grown by. Takes MEDIALANE_KAFKA_* and
    MEDIALANE_MIGRATION_DATABASE_URL.
    """
    # All before the first change, so that a missing variable leaves nothing half done.
    admin, owner = _admin(file), load(MigrationSettings, os.environ)
    counts = asyncio.run(_apply(admin, owner))
    for route, count in counts.items():
        click.echo(f"{route}: {count} partitions")


@topics.command()
def show() -> None:
    """Print the file that the release declares its topics in: the beginning of one of your own."""
    from importlib import resources  # noqa: PLC0415 - only here

    click.echo((resources.files("schemas") / "topics.toml").read_text(encoding="utf-8"), nl=False)


async def _plan(admin: TopicAdmin, owner: MigrationSettings | None) -> tuple[list[Change], dict[str, int]]:
    if owner is None:
        return await admin.plan(), {}
    async with _database(owner) as database:
        return await admin.plan(), await _recorded(database)


async def _apply(admin: TopicAdmin, owner: MigrationSettings) -> dict[str, int]:
    async with _database(owner) as database:
        refuse_fewer(await admin.plan(), await _recorded(database))
        counts = await admin.apply()
        async with database.transaction() as connection:
            await confirm_partitions(connection, counts)
    return counts


def _database(owner: MigrationSettings) -> Database:
    return Database(DatabaseSettings(url=owner.database_url, pool_size=1), application="topics")


async def _recorded(database: Database) -> dict[str, int]:
    try:
        async with database.transaction() as connection:
            return await confirmed_partitions(connection)
    except exc.ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable):
            raise
        raise TopicsError("the database has no tables yet: run `medialane migrate` first") from error


def _admin(file: Path | None) -> TopicAdmin:
    return TopicAdmin(load(KafkaSettings, os.environ), topics=_declared(file))


def _declared(file: Path | None) -> tuple[Topic, ...]:
    named = load(TopicsSettings, os.environ).file
    chosen = file or (Path(named) if named else None)
    if chosen is None:
        return TOPICS
    try:
        return declared(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        raise TopicsFileError(f"{chosen} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TopicsFileError(f"{chosen}: this is no text in UTF-8") from error
    except TopicsFileError as error:
        raise TopicsFileError(f"{chosen}: {error}") from error
