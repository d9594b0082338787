"""What was sent to the tenant's webhook endpoints, and sending it again."""

from datetime import datetime
from uuid import UUID

from cli.client.delivery_models import DeliveryDetail, DeliveryPage, Recovered
from cli.client.wire import Wire, given


class Deliveries(Wire):
    """What became of each event that an endpoint is registered for."""

    async def deliveries(
        self, endpoint_id: UUID, *, state: str | None = None, event_type: str | None = None,
        asset_id: UUID | None = None, limit: int = 50, cursor: str | None = None,
    ) -> DeliveryPage:  # fmt: skip
        """A page of deliveries, newest first; pass `next_cursor` back, with the same filters, for the following page.

        `state` is sending, waiting, delivered or dead.
        """
        filters = {"state": state, "eventType": event_type, "assetId": asset_id and str(asset_id), "cursor": cursor}
        query = {"limit": str(limit)} | {name: value for name, value in filters.items() if value}
        return (await self._call("GET", f"/webhooks/{endpoint_id}/deliveries", query=query)).data(DeliveryPage)

    async def delivery(self, endpoint_id: UUID, delivery_id: UUID) -> DeliveryDetail:
        """One delivery, with its body and its attempts."""
        return (await self._call("GET", f"/webhooks/{endpoint_id}/deliveries/{delivery_id}")).data(DeliveryDetail)

    async def resend_delivery(
        self, endpoint_id: UUID, delivery_id: UUID, *, idempotency_key: str | None = None
    ) -> None:
        """Send a delivery again that has ended; raises `ConflictError` while it is under way."""
        path = f"/webhooks/{endpoint_id}/deliveries/{delivery_id}/resend"
        await self._call("POST", path, idempotency_key=idempotency_key)

    async def recover_webhook(
        self, endpoint_id: UUID, since: datetime, *, until: datetime | None = None, state: str = "dead",
        dry_run: bool = False, cursor: str | None = None, idempotency_key: str | None = None,
    ) -> Recovered:  # fmt: skip
        """Send again what is dead of the events from `since` on; of `state` finished what was delivered, too.

        One call does some of it: go on with `next_cursor` while there is more. Times need an offset.
        """
        body = given(since=since, until=until, state=state, dryRun=dry_run, cursor=cursor)
        path = f"/webhooks/{endpoint_id}/recover"
        return (await self._call("POST", path, body, idempotency_key=idempotency_key)).data(Recovered)
