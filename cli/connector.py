"""`medialane connector`: register the outbox connector with Kafka Connect, ask how it is, stop and start it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import click

from cli.common.groups import Commands
from connectors.debezium import ConnectClient, ConnectorStatus, connector_config, source
from schemas.settings import ConnectSettings, KafkaSettings, SettingsError, load

T = TypeVar("T")

_OTHER_SETTINGS = 3


@click.group(cls=Commands)
def connector() -> None:
    """The connector that carries the outbox to Kafka. Takes MEDIALANE_CONNECT_* and MEDIALANE_KAFKA_*."""


@connector.command()
@click.option(
    "--replication-factor", type=click.IntRange(min=1), default=1, show_default=True, help="Copies of its own topics."
)
@click.option("--replace", is_flag=True, help="Also if it reads another database now, or by another slot.")
def register(replication_factor: int, replace: bool) -> None:
    """Register the connector, or give it this release's configuration. May be repeated.

    One of the same name that reads another database, or by another slot, is left alone: it may be another
    installation's, whose rows would stay in its outbox.
    """
    connect, kafka = load(ConnectSettings, os.environ), load(KafkaSettings, os.environ)
    try:
        config = connector_config(connect, topic_prefix=kafka.topic_prefix, replication_factor=replication_factor)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _ask(connect, lambda client: _register(client, connect.connector, config, replace=replace))
    click.echo(f"{connect.connector} is registered")


@connector.command()
def status() -> None:
    """Say whether the connector runs; exits with 1, and its cause, if it does not.

    One that runs by other settings than this release's, as after an upgrade, is told with exit code 3.
    """
    connect = load(ConnectSettings, os.environ)
    found, present = _ask(connect, lambda client: _status(client, connect.connector))
    if found is None:
        raise click.ClickException(f"Connect knows no {connect.connector}: run `medialane connector register`")
    click.echo(f"{found.name}: {found.connector.state}, {len(found.tasks)} tasks")
    if not found.running:
        raise click.ClickException(found.cause or "it does not run (yet)")
    try:
        wanted = connector_config(connect, topic_prefix=load(KafkaSettings, os.environ).topic_prefix)
    except (SettingsError, ValueError):
        return  # nobody here can tell what its settings should be
    if other := _differing(present or {}, wanted):
        click.echo(f"not as this release sets them: {', '.join(other)}. Run `medialane connector register`", err=True)
        raise SystemExit(_OTHER_SETTINGS)


@connector.command()
def stop() -> None:
    """Stop the connector until `start`: rows wait in the outbox, and Postgres keeps its log for them."""
    connect = load(ConnectSettings, os.environ)
    _ask(connect, lambda client: client.stop(connect.connector))
    click.echo(f"{connect.connector} is stopped")


@connector.command()
def start() -> None:
    """Let a stopped connector go on where it was."""
    connect = load(ConnectSettings, os.environ)
    _ask(connect, lambda client: client.resume(connect.connector))
    click.echo(f"{connect.connector} goes on where it was")


@connector.command()
def resend() -> None:
    """Send the whole outbox again, in order: the cure when Kafka lost topics.

    Make the topics anew first, with the connector stopped: what it sends before this would come before what is older.
    Consumers know what they have had by its id.
    """
    connect = load(ConnectSettings, os.environ)
    _ask(connect, lambda client: _resend(client, connect.connector))
    click.echo(f"{connect.connector} reads the outbox from its start")


def _ask(settings: ConnectSettings, work: Callable[[ConnectClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with ConnectClient(settings) as client:
            return await work(client)

    return asyncio.run(run())


async def _status(client: ConnectClient, name: str) -> tuple[ConnectorStatus | None, dict[str, str] | None]:
    return await client.status(name), await client.config(name)


def _differing(present: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Names of the settings that differ. How many copies its own topics have is told at registration only."""
    own = {"name", *(name for name in wanted if name.endswith(".replication.factor"))}
    return sorted(name for name in (present.keys() | wanted.keys()) - own if present.get(name) != wanted.get(name))


async def _resend(client: ConnectClient, name: str) -> None:
    await client.stop(name)
    await client.forget_offsets(name)
    await client.resume(name)


async def _register(client: ConnectClient, name: str, config: dict[str, str], *, replace: bool) -> None:
    present = await client.config(name, wait_s=60)
    if present is not None and not replace and source(present) != source(config):
        raise click.ClickException(
            f"{name} reads {source(present)}, not {source(config)}: "
            "name another one (MEDIALANE_CONNECT_CONNECTOR), or have this one replaced (--replace)"
        )
    await client.register(name, config, wait_s=60)
