"""The client's webhook endpoints: registered, changed, given new secrets, and tried."""

from collections.abc import Sequence
from uuid import UUID

from cli.client.tenant_models import Endpoint, SentTest
from cli.client.wire import Wire, given


class Endpoints(Wire):
    """Where the tenant's events are sent."""

    async def register_webhook(
        self, url: str, events: Sequence[str], *, secret: str | None = None, description: str = "",
        idempotency_key: str | None = None,
    ) -> Endpoint:  # fmt: skip
        """Register an endpoint; the answer holds its secret, which is never shown again."""
        body = given(url=url, events=list(events), secret=secret, description=description or None)
        return (await self._call("POST", "/webhooks", body, idempotency_key=idempotency_key)).data(Endpoint)

    async def webhooks(self) -> list[Endpoint]:
        """The tenant's endpoints, without their secrets."""
        return (await self._call("GET", "/webhooks")).data(list[Endpoint])

    async def webhook(self, endpoint_id: UUID) -> Endpoint:
        """One endpoint, without its secret."""
        return (await self._call("GET", f"/webhooks/{endpoint_id}")).data(Endpoint)

    async def change_webhook(
        self, endpoint_id: UUID, *, url: str | None = None, events: Sequence[str] | None = None,
        enabled: bool | None = None, description: str | None = None,
    ) -> Endpoint:  # fmt: skip
        """Change what is given. While an endpoint is off, what waits for it is given up when it comes due."""
        body = given(url=url, events=events, enabled=enabled, description=description)
        return (await self._call("PATCH", f"/webhooks/{endpoint_id}", body)).data(Endpoint)

    async def rotate_webhook_secret(
        self, endpoint_id: UUID, *, overlap_s: int = 86_400, secret: str | None = None,
        idempotency_key: str | None = None,
    ) -> Endpoint:  # fmt: skip
        """Follow an endpoint's secret by a new one, which the answer holds, once.

        Deliveries are signed with the old one, too, for the overlap. While an earlier one lasts that is refused, but
        for an overlap of 0.
        """
        body = given(overlapSeconds=overlap_s, secret=secret)
        path = f"/webhooks/{endpoint_id}/secret/rotate"
        return (await self._call("POST", path, body, idempotency_key=idempotency_key)).data(Endpoint)

    async def test_webhook(
        self, endpoint_id: UUID, *, event_type: str | None = None, idempotency_key: str | None = None
    ) -> SentTest:
        """Have an example sent to an endpoint; its body has `test: true`.

        Of the given type, or of the first that the endpoint is registered for.
        """
        body, path = given(type=event_type), f"/webhooks/{endpoint_id}/test"
        return (await self._call("POST", path, body, idempotency_key=idempotency_key)).data(SentTest)

    async def delete_webhook(self, endpoint_id: UUID) -> None:
        """Remove an endpoint; nothing more is sent to it."""
        await self._call("DELETE", f"/webhooks/{endpoint_id}")
