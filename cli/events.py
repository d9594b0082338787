"""`medialane events`: what was told, from the database: for a service that begins when the topic has forgotten it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import click
import msgspec

from cli.common.ages import WHEN
from cli.common.database import worker_database
from cli.common.groups import Commands
from connectors.postgres.accounts.tenants import find_tenant, list_tenants
from connectors.postgres.assets.event_history import Told, read_page
from connectors.postgres.database import Database
from connectors.postgres.paging import Position
from schemas import records
from schemas.events import EVENT_TYPES

_TYPE = click.Choice(list(EVENT_TYPES))
_LOOK_AT = 200
# What the connector places on every record.
_CONSTANT = {records.HEADER_SPEC_VERSION: "1.0", records.HEADER_SOURCE: "medialane"}
_BEGINNING = Position(datetime.min.replace(tzinfo=UTC), UUID(int=0))


@click.group(cls=Commands)
def events() -> None:
    """What happened to assets, as the topic `media.events` has it."""


@events.command()
@click.option("--tenant", help="Only of this tenant (its slug).")
@click.option("--since", type=WHEN, metavar="AGE", help="Only events since: 12h, 30d, an ISO date.")
@click.option(
    "--type", "types", type=_TYPE, multiple=True, metavar="TYPE", help="Only of this type (asset.ready); repeatable."
)
@click.option("--limit", type=click.IntRange(min=1), help="Most events.")
def export(tenant: str | None, since: datetime | None, types: tuple[str, ...], limit: int | None) -> None:
    """Write events as JSON lines: key, headers and payload, as the topic's records have them.

    Those of every asset that the database knows, in order for each asset, assets by age, one tenant after the other. It
    knows a deleted one for a week after its objects have gone. `traceparent` is null: it is not kept.

    To go on from the topic: note its end first, export, read on from there, and drop by `ce_id` what comes twice.
    """
    told = asyncio.run(_export(tenant, since, types, limit))
    click.echo(f"{told} events", err=True)


async def _export(tenant: str | None, since: datetime | None, types: Sequence[str], limit: int | None) -> int:
    told = 0
    async with worker_database() as database:
        async with database.transaction() as connection:
            found = await list_tenants(connection) if tenant is None else [await find_tenant(connection, tenant)]
        for one in found:
            async for event in _events(database, one.id, since, types):
                if told == limit:
                    return told
                click.echo(_line(event))
                told += 1
    return told


async def _events(
    database: Database, tenant_id: UUID, since: datetime | None, types: Sequence[str]
) -> AsyncIterator[Told]:
    place: Position | None = _BEGINNING
    while place is not None:
        async with database.transaction() as connection:
            page = await read_page(connection, tenant_id, place=place, look_at=_LOOK_AT, since=since, types=types)
        for event in page.events:
            yield event
        place = page.next


def _line(event: Told) -> bytes:
    headers = _CONSTANT | {
        records.HEADER_ID: event.id,
        records.HEADER_TYPE: event.type,
        records.HEADER_SUBJECT: event.asset_id,
        records.HEADER_TENANT: event.tenant_id,
        records.HEADER_SEQ: str(event.seq),
        records.HEADER_TRACEPARENT: None,
    }
    payload = msgspec.Raw(event.payload.encode())
    return msgspec.json.encode({"key": event.asset_id, "headers": headers, "payload": payload})
