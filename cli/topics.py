"""`medialane topics`: bring a Kafka cluster to the topic table, and record in Postgres which partitions exist."""

import asyncio
import os

import click

from connectors.kafka.admin import TopicAdmin
from connectors.postgres.database import Database
from connectors.postgres.placements import confirm_partitions
from schemas.settings import DatabaseSettings, KafkaSettings, MigrationSettings, load

_REPLICAS = click.option(
    "--replication-factor", type=click.IntRange(min=1), default=1, show_default=True, help="Copies of a new topic."
)


@click.group()
def topics() -> None:
    """The topic table. Topics are created and grown, never shrunk and never deleted."""


@topics.command()
@_REPLICAS
def plan(replication_factor: int) -> None:
    """Say what each topic needs, and change nothing."""
    for change in asyncio.run(_admin(replication_factor).plan()):
        click.echo(f"{'~' if change.needed else '='} {change}")


@topics.command()
@_REPLICAS
def apply(replication_factor: int) -> None:
    """Make the topics, then record their partitions: the outbox may only name recorded ones.

    May be repeated, and run twice at once. Takes MEDIALANE_KAFKA_* and MEDIALANE_MIGRATION_DATABASE_URL.
    """
    # Both before the first change, so that a missing variable leaves nothing half done.
    admin, owner = _admin(replication_factor), load(MigrationSettings, os.environ)
    counts = asyncio.run(_apply(admin, owner))
    for route, count in counts.items():
        click.echo(f"{route}: {count} partitions")


async def _apply(admin: TopicAdmin, owner: MigrationSettings) -> dict[str, int]:
    counts = await admin.apply()
    settings = DatabaseSettings(url=owner.database_url, pool_size=1)
    async with Database(settings, application="topics") as database, database.transaction() as connection:
        await confirm_partitions(connection, counts)
    return counts


def _admin(replication_factor: int) -> TopicAdmin:
    return TopicAdmin(load(KafkaSettings, os.environ), replication_factor=replication_factor)
