"""Registering endpoints: the address is judged, the secret sealed before it is stored."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from yarl import URL

from api.idempotency import Keep
from api.webhooks.models import ALL_EVENTS, EndpointCreated, EndpointOut, EndpointRequest
from api.webhooks.signing_keys import shown, signing_key
from connectors.http.guard import check_url
from connectors.postgres import audit
from connectors.postgres.database import Database
from connectors.postgres.endpoints import Endpoint, delete_endpoint, list_endpoints, register_endpoint
from connectors.postgres.keys import Principal
from connectors.secrets import SecretBox
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import EVENT_TYPES


class WebhookService:
    """Keeps a tenant's endpoints."""

    def __init__(self, database: Database, box: SecretBox, *, allow_private: bool) -> None:
        self._database = database
        self._box = box
        self._allow_private = allow_private

    async def register(self, who: Principal, wanted: EndpointRequest, keep: Keep[EndpointCreated]) -> EndpointCreated:
        """Add an endpoint.

        Raises `MedialaneError`: webhook_url_refused, invalid_request for unknown events, quota_exceeded.
        """
        check_url(wanted.url, allow_private=self._allow_private)
        events = _events(wanted.events)
        key = signing_key(wanted.secret)
        async with self._database.tenant(who.tenant_id) as connection:
            made = await register_endpoint(
                connection, who.tenant_id, url=wanted.url, sealed_secret=self._box.seal(key), events=events
            )
            # The host only: with many receivers, what follows it is the permission.
            await audit.note(
                connection,
                actor=who.actor,
                action="webhook.register",
                tenant_id=who.tenant_id,
                subject=str(made.id),
                detail={"host": URL(wanted.url).host, "events": list(events)},
            )
            created = EndpointCreated(**msgspec.structs.asdict(made), secret=shown(key))
            await keep(connection, created)
        return created

    async def list(self, tenant_id: UUID) -> tuple[EndpointOut, ...]:
        """The tenant's endpoints, oldest first."""
        async with self._database.tenant(tenant_id) as connection:
            return tuple(_shown(endpoint) for endpoint in await list_endpoints(connection, tenant_id))

    async def delete(self, who: Principal, endpoint_id: UUID) -> None:
        """Stop sending to an endpoint. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(who.tenant_id) as connection:
            if not await delete_endpoint(connection, who.tenant_id, endpoint_id):
                raise MedialaneError(ErrorCode.NOT_FOUND)
            await audit.note(
                connection,
                actor=who.actor,
                action="webhook.delete",
                tenant_id=who.tenant_id,
                subject=str(endpoint_id),
            )


def _events(wanted: Sequence[str]) -> tuple[str, ...]:
    for name in wanted:
        if name != ALL_EVENTS and name not in EVENT_TYPES:
            detail = f"There is no event {name[:64]!r}; these are: {', '.join(EVENT_TYPES)}, or * for all."
            raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="events")
    return tuple(dict.fromkeys(wanted))


def _shown(endpoint: Endpoint) -> EndpointOut:
    return EndpointOut(**msgspec.structs.asdict(endpoint))
