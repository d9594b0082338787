"""`medialane webhooks resend` and `recover`: what operators do in the database, for whichever tenant it is."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.ages import WHEN
from cli.common.database import in_transaction, worker_database
from cli.common.numbers import Finite
from connectors.postgres import audit
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.database import Database
from connectors.postgres.webhooks import resending
from connectors.postgres.webhooks.endpoint_views import EndpointView, find_delivery, find_endpoints, view_endpoints
from connectors.postgres.webhooks.resending import SPREAD_S, Span, Which
from schemas.errors import ErrorCode, MedialaneError

_MOST_ENDPOINTS = 1000
_REFUSALS = {ErrorCode.NOT_FOUND, ErrorCode.WEBHOOK_DISABLED, ErrorCode.DELIVERY_UNDER_WAY}


class Outcome(NamedTuple):
    """What was sent again to an endpoint, or would be, and why no more, if that is refused; `more`: not all counted."""

    endpoint_id: UUID
    tenant: str
    url: str
    deliveries: int
    more: bool = False
    refused: str | None = None


@click.command()
@click.argument("delivery_ids", type=click.UUID, nargs=-1, required=True, metavar="DELIVERY_ID...")
@click.option("--tenant", help="Only if they are of this tenant (its slug).")
@click.option("--dry-run", is_flag=True, help="Say what would be sent again, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: what was sent again, and what refused.")
def resend(delivery_ids: tuple[UUID, ...], tenant: str | None, dry_run: bool, as_json: bool) -> None:
    """Send deliveries again that have ended.

    They are sent at once, and by the whole schedule if that fails. One that is under way is left alone, and one to an
    endpoint that is disabled or deleted; then the exit code is 1.
    """

    async def work(connection: AsyncConnection) -> tuple[list[UUID], dict[UUID, str]]:
        done = await _resend(connection, tuple(dict.fromkeys(delivery_ids)), tenant)
        if dry_run:  # it is refused for whatever would be refused
            await connection.rollback()
        return done

    sent, refused = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode({"sent": sent, "refused": refused, "dry_run": dry_run}).decode())
    else:
        for delivery_id in sent:
            click.echo(f"{'would be' if dry_run else 'is'} sent again: {delivery_id}")
    for delivery_id, why in refused.items():
        click.echo(f"{delivery_id}  left alone: {why}", err=True)
    if refused:
        sys.exit(1)


@click.command()
@click.argument("endpoint_ids", type=click.UUID, nargs=-1, metavar="[ENDPOINT_ID]...")
@click.option("--tenant", help="Every endpoint of this tenant (its slug); with ids: only if they are its.")
@click.option("--since", type=WHEN, required=True, metavar="AGE", help="Events as young as this.")
@click.option("--until", type=WHEN, metavar="AGE", help="Only events before this.")
@click.option(
    "--state", type=click.Choice([which.value for which in Which]), default=Which.DEAD.value, show_default=True,
    help="finished: what was delivered, too.",
)  # fmt: skip
@click.option(
    "--rate", type=Finite(min=0, min_open=True), default=1 / SPREAD_S, show_default=True,
    help="Deliveries that become due in a second, of each endpoint.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say how much would be sent again, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object per endpoint.")
def recover(
    endpoint_ids: tuple[UUID, ...],
    tenant: str | None,
    since: datetime,
    until: datetime | None,
    state: str,
    rate: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send again what endpoints did not get.

    That is what is dead of the events since AGE; the oldest go first. AGE is 90s, 30m, 2h, 7d (that long ago) or an ISO
    date. The exit code is 1 if an endpoint was left alone: it is disabled or deleted, or was while this went on.
    """
    if not endpoint_ids and tenant is None:
        raise click.UsageError("name endpoints by id, or all of a --tenant")

    async def choose(connection: AsyncConnection) -> tuple[EndpointView, ...]:
        if tenant is not None:
            await find_tenant(connection, tenant)
        if endpoint_ids:
            return await find_endpoints(connection, tuple(dict.fromkeys(endpoint_ids)), tenant=tenant)
        return await view_endpoints(connection, limit=_MOST_ENDPOINTS, tenant=tenant)

    span, which = Span(since=since, until=until), Which(state)
    done = asyncio.run(_recover(choose, span, which, rate=rate, dry_run=dry_run))
    if as_json:
        click.echo(msgspec.json.encode([one._asdict() for one in done]).decode())
    for one in done:
        if not as_json and (one.refused is None or one.deliveries):
            told = "would be sent again" if dry_run else "are sent again"
            click.echo(f"{one.endpoint_id}  {one.tenant}  {one.url}  {one.deliveries}{'+' if one.more else ''} {told}")
        if one.refused is not None:
            click.echo(f"{one.endpoint_id}  {'then ' if one.deliveries else ''}left alone: {one.refused}", err=True)
    if any(one.refused is not None for one in done):
        sys.exit(1)


def _refusal(error: MedialaneError) -> str:
    """Why something is left alone; whatever is no reason to leave it alone is raised again."""
    if error.code not in _REFUSALS:
        raise error
    return error.detail


async def _resend(
    connection: AsyncConnection, delivery_ids: tuple[UUID, ...], tenant: str | None
) -> tuple[list[UUID], dict[UUID, str]]:
    """Those that are sent again, and why each other is not."""
    sent: list[UUID] = []
    refused: dict[UUID, str] = {}
    for delivery_id in delivery_ids:
        try:
            place = await find_delivery(connection, delivery_id, tenant=tenant)
            await resending.resend(connection, place.tenant_id, place.endpoint_id, delivery_id, actor=audit.operator())
        except MedialaneError as error:
            refused[delivery_id] = _refusal(error)
        else:
            sent.append(delivery_id)
    return sent, refused


async def _recover(
    choose: Callable[[AsyncConnection], Awaitable[tuple[EndpointView, ...]]],
    span: Span,
    which: Which,
    *,
    rate: float,
    dry_run: bool,
) -> list[Outcome]:
    done: list[Outcome] = []
    async with worker_database() as database:
        async with database.transaction() as connection:
            endpoints = await choose(connection)
        for one in endpoints:
            if dry_run:
                done.append(await _count_one(database, one, span, which))
            else:
                done.append(await _recover_one(database, one, span, which, spread_s=1 / rate))
    return done


async def _count_one(database: Database, endpoint: EndpointView, span: Span, which: Which) -> Outcome:
    count, more, refused = 0, False, None
    try:
        async with database.transaction() as connection:
            count, more = await resending.count_recoverable(connection, endpoint.tenant_id, endpoint.id, span, which)
    except MedialaneError as error:
        refused = _refusal(error)
    return Outcome(endpoint.id, endpoint.tenant, endpoint.url, count, more, refused)


async def _recover_one(
    database: Database, endpoint: EndpointView, span: Span, which: Which, *, spread_s: float
) -> Outcome:
    began, sent, actor, rest = time.monotonic(), 0, audit.operator(), span
    while True:
        # Behind those of the batches before it.
        delay_s = max(0.0, began + sent * spread_s - time.monotonic())
        try:
            async with database.transaction() as connection:
                batch = await resending.recover(
                    connection, endpoint.tenant_id, endpoint.id, rest, which,
                    actor=actor, delay_s=delay_s, spread_s=spread_s,
                )  # fmt: skip
        except MedialaneError as error:  # maybe after batches that are sent again
            return Outcome(endpoint.id, endpoint.tenant, endpoint.url, sent, refused=_refusal(error))
        sent += batch.sent
        if batch.resume is None:
            return Outcome(endpoint.id, endpoint.tenant, endpoint.url, sent)
        rest = msgspec.structs.replace(span, resume=batch.resume)
        click.echo(f"{endpoint.id}: {sent} ...", err=True)
