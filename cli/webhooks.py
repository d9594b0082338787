"""`medialane webhooks`: endpoints and what was sent to them, for operators; and a receiver for developers."""

from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.groups import Commands
from cli.common.numbers import MOST_ROWS
from cli.common.terminal import one_line
from cli.listening import listen
from cli.webhook_acts import recover, resend
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.webhooks.delivery_views import (
    DeliveryFilter,
    DeliveryRow,
    DeliveryView,
    list_deliveries,
    read_delivery,
)
from connectors.postgres.webhooks.endpoint_views import EndpointView, find_delivery, find_endpoints, view_endpoints
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import DeliveryState

_TENANT = click.option("--tenant", help="Only of this tenant (its slug).")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_PAGE = 100


@click.group(cls=Commands)
def webhooks() -> None:
    """Webhook endpoints of any tenant, and what became of what was sent to them.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role. `listen` is for developers: it
    needs the API alone.
    """


webhooks.add_command(resend)
webhooks.add_command(recover)
webhooks.add_command(listen)


@webhooks.command("ls")
@_TENANT
@click.option("--behind", is_flag=True, help="Only endpoints for which anything waits, the most first.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True, help="Most endpoints.")
@_JSON
def listing(tenant: str | None, behind: bool, limit: int, as_json: bool) -> None:
    """List endpoints, with what waits for each.

    Since when it is due, how many are dead, and what the last failed attempt of what waits met.
    """

    async def work(connection: AsyncConnection) -> tuple[EndpointView, ...]:
        if tenant is not None:
            await find_tenant(connection, tenant)
        return await view_endpoints(connection, limit=limit, tenant=tenant, behind=behind)

    found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for one in found:
        click.echo(f"{one.id}  {one.tenant}  {_standing(one)}  {one.url}")
        if one.waiting or one.dead:
            click.echo(f"    {_backlog(one)}")
    if not found:
        click.echo("nothing waits for any endpoint" if behind else "no endpoints", err=True)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID, metavar="ID")
@_TENANT
@_JSON
def show(webhook_id: UUID, tenant: str | None, as_json: bool) -> None:
    """Show the endpoint or the delivery ID.

    Of a delivery that is its body, and what came of each attempt.
    """

    async def work(connection: AsyncConnection) -> EndpointView | DeliveryView:
        for endpoint in await view_endpoints(connection, limit=1, tenant=tenant, ids=[webhook_id]):
            return endpoint
        place = await find_delivery(connection, webhook_id, tenant=tenant)
        view = await read_delivery(connection, place.tenant_id, place.endpoint_id, webhook_id)
        if view is None:
            raise MedialaneError(ErrorCode.NOT_FOUND, f"There is no delivery {webhook_id}.")
        return view

    found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(found if isinstance(found, EndpointView) else found._asdict()).decode())
        return
    shown = found if isinstance(found, EndpointView) else found.delivery
    for name, value in msgspec.structs.asdict(shown).items():
        if value is not None:
            click.echo(f"{name:<16} {', '.join(value) if isinstance(value, tuple) else value}")
    if isinstance(found, DeliveryView):
        click.echo(f"{'payload':<16} {found.payload}")
        for attempt in found.attempts:
            took = "" if attempt.duration_s is None else f"  {attempt.duration_s:.3f} s"
            met = f"{attempt.outcome or 'under way, or lost'}  {attempt.status or ''}".rstrip()
            said = f"  {one_line(attempt.response)}" if attempt.response else ""
            click.echo(f"{attempt.number:>7}  {attempt.started_at:%Y-%m-%d %H:%M:%S}{took}  {met}{said}")


@webhooks.command()
@click.argument("endpoint_id", type=click.UUID)
@_TENANT
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only in this state.")
@click.option("--type", "event_type", help="Only of events of this type.")
@click.option("--asset", "asset_id", type=click.UUID, help="Only of events about this asset.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most deliveries.")
@_JSON
def deliveries(
    endpoint_id: UUID,
    tenant: str | None,
    state: str | None,
    event_type: str | None,
    asset_id: UUID | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the deliveries to ENDPOINT_ID, newest first."""
    where = DeliveryFilter(
        state=None if state is None else DeliveryState(state), event_type=event_type, asset_id=asset_id
    )

    async def work(connection: AsyncConnection) -> list[DeliveryRow]:
        (endpoint,) = await find_endpoints(connection, [endpoint_id], tenant=tenant)
        found: list[DeliveryRow] = []
        after: UUID | None = None
        while len(found) < limit:
            page = await list_deliveries(
                connection, endpoint.tenant_id, endpoint_id,
                limit=min(_PAGE, limit - len(found)), after=after, where=where,
            )  # fmt: skip
            found += page.deliveries
            after = page.after
            if after is None:
                break
        return found

    found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for one in found:
        met = f"{one.last_outcome or '-'} {one.last_status or ''}".rstrip()
        click.echo(
            f"{one.id}  {one.created_at:%Y-%m-%d %H:%M:%S}  {one.event_type}  {one.asset_id}  {one.state.value:<9}  "
            f"{one.attempts} attempts  {met}"
        )


def _standing(one: EndpointView) -> str:
    if one.deleted_at is not None:
        return "deleted"
    return "enabled" if one.enabled else f"disabled ({one.disabled_reason or 'no reason was noted'})"


def _backlog(one: EndpointView) -> str:
    due = f", due since {one.due_since:%Y-%m-%d %H:%M:%S}" if one.due_since else ""
    why = ""
    if one.last_outcome:
        why = f"; last: {one.last_outcome} {one.last_status or ''}".rstrip()
        why += f" {one_line(one.last_response)}" if one.last_response else ""
    return f"{one.waiting} wait{due}, {one.dead} dead{why}"
