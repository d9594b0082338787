"""What became of a tenant's deliveries, and those that are sent again."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from api.cursors import id_cursor, id_in
from api.deliveries.models import AttemptOut, DeliveryDetail, DeliveryOut, DeliveryPage, RecoveredOut, RecoverRequest
from api.envelope import Done, Success
from api.idempotency import Keep
from api.limits.lists import Lists
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.database import Database
from connectors.postgres.webhooks import resending
from connectors.postgres.webhooks.delivery_views import (
    DeliveryFilter,
    DeliveryRow,
    knows_endpoint,
    list_deliveries,
    read_delivery,
)
from connectors.postgres.webhooks.resending import MOST_AHEAD_S, MOST_RECOVERED, SPREAD_S, Span, Which
from schemas.errors import ErrorCode, MedialaneError

_FAR_S = 60.0


class DeliveryService:
    """Shows a tenant its deliveries and sends them again."""

    def __init__(self, database: Database, lists: Lists) -> None:
        self._database = database
        self._lists = lists

    async def page(
        self, tenant_id: UUID, endpoint_id: UUID, *, limit: int, cursor: str | None, where: DeliveryFilter
    ) -> DeliveryPage:
        """A page of an endpoint's deliveries.

        Raises `MedialaneError`: not_found for the endpoint, invalid_request for a cursor that is none, rate_limited
        while too many of the tenant's lists are under way, query_timeout.
        """
        after = None if cursor is None else id_in(cursor)
        async with self._lists.begun(tenant_id) as connection:
            if not await knows_endpoint(connection, tenant_id, endpoint_id):
                raise MedialaneError(ErrorCode.NOT_FOUND)
            page = await list_deliveries(connection, tenant_id, endpoint_id, limit=limit, after=after, where=where)
        return DeliveryPage(
            items=tuple(DeliveryOut(**_shown(row)) for row in page.deliveries),
            next_cursor=None if page.after is None else id_cursor(page.after),
        )

    async def read(self, tenant_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> DeliveryDetail:
        """One delivery with its attempts. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(tenant_id) as connection:
            known = await knows_endpoint(connection, tenant_id, endpoint_id)
            view = await read_delivery(connection, tenant_id, endpoint_id, delivery_id) if known else None
        if view is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return DeliveryDetail(
            **_shown(view.delivery),
            payload=msgspec.json.decode(view.payload),
            attempt_log=tuple(AttemptOut(**msgspec.structs.asdict(attempt)) for attempt in view.attempts),
        )

    async def resend(self, who: Principal, endpoint_id: UUID, delivery_id: UUID, keep: Keep[Done]) -> Done:
        """Send one again that has ended.

        Raises `MedialaneError`: not_found, webhook_disabled, delivery_under_way.
        """
        done = Done(message="Delivery will be sent again")
        async with self._database.tenant(who.tenant_id) as connection:
            await resending.resend(connection, who.tenant_id, endpoint_id, delivery_id, actor=who.actor)
            await keep(connection, done)
        return done

    async def recover(
        self, who: Principal, endpoint_id: UUID, wanted: RecoverRequest, keep: Keep[Success[RecoveredOut]]
    ) -> Success[RecoveredOut]:
        """Send again what an endpoint did not get since some time, or count it, which is a list.

        Raises `MedialaneError`: not_found, webhook_disabled, invalid_request, rate_limited while what was sent again
        before goes on to become due for too long; for a count rate_limited and query_timeout as `page` does.
        """
        if wanted.until is not None and wanted.until <= wanted.since:
            raise MedialaneError(ErrorCode.INVALID_REQUEST, "Nothing is between these times.", field="until")
        resume = None if wanted.cursor is None else id_in(wanted.cursor)
        span = Span(since=wanted.since, until=wanted.until, resume=resume)
        begun = self._lists.begun if wanted.dry_run else self._database.tenant
        async with begun(who.tenant_id) as connection:
            if wanted.dry_run:
                count, more = await resending.count_recoverable(
                    connection, who.tenant_id, endpoint_id, span, wanted.state
                )
                found = RecoveredOut(count=count, more=more, next_cursor=None)
            else:
                found = await _recovered(connection, who, endpoint_id, span, wanted.state)
            answer = Success(data=found)
            await keep(connection, answer)
        return answer


async def _recovered(
    connection: AsyncConnection, who: Principal, endpoint_id: UUID, span: Span, which: Which
) -> RecoveredOut:
    # Behind what the calls before it made due, or as many came due at once as there were calls.
    delay_s = await resending.taken_s(connection, who.tenant_id, endpoint_id)
    over_s = delay_s + MOST_RECOVERED * SPREAD_S - MOST_AHEAD_S
    if over_s > 0:
        detail = f"What is sent again to this endpoint becomes due over {delay_s / 60:.0f} minutes already; come again."
        # At the end of what is looked at nobody knows how much more there is.
        again_s = over_s if delay_s < MOST_AHEAD_S - 1 else _FAR_S
        raise MedialaneError(ErrorCode.RATE_LIMITED, detail, retry_after_s=again_s)
    sent = await resending.recover(
        connection, who.tenant_id, endpoint_id, span, which, actor=who.actor, delay_s=delay_s
    )
    cursor = None if sent.resume is None else id_cursor(sent.resume)
    return RecoveredOut(count=sent.sent, more=cursor is not None, next_cursor=cursor)


def _shown(row: DeliveryRow) -> dict[str, Any]:
    fields = msgspec.structs.asdict(row)
    del fields["endpoint_id"]
    return fields | {"type": fields.pop("event_type")}
