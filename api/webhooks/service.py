"""Endpoints of webhooks: addresses are judged, secrets sealed before they are stored, and what is done is noted."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from yarl import URL

from api.envelope import Success
from api.idempotency import Keep
from api.noting import note
from api.webhooks.bodies import body_of_test, example_event
from api.webhooks.models import (
    ALL_EVENTS,
    EndpointChange,
    EndpointCreated,
    EndpointOut,
    EndpointRequest,
    SecretRotation,
    SentTest,
    TestWanted,
)
from api.webhooks.signing_keys import shown, signing_key
from connectors.http.guard import check_url
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.database import Database
from connectors.postgres.webhooks.endpoint_secrets import rotate_secret
from connectors.postgres.webhooks.endpoint_tests import insert_test, testable_endpoint
from connectors.postgres.webhooks.endpoints import (
    Endpoint,
    change_endpoint,
    delete_endpoint,
    list_endpoints,
    read_endpoint,
    register_endpoint,
)
from connectors.secrets import SecretBox
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import EVENT_TYPES, AssetReady


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
                connection,
                who.tenant_id,
                url=wanted.url,
                sealed_secret=self._box.seal(key),
                events=events,
                description=wanted.description,
            )
            await note(connection, who, "webhook.register", made.id, {"host": _host(wanted.url), "events": events})
            created = _with_secret(made, key)
            await keep(connection, created)
        return created

    async def list(self, tenant_id: UUID) -> tuple[EndpointOut, ...]:
        """The tenant's endpoints, oldest first."""
        async with self._database.tenant(tenant_id) as connection:
            return tuple(_shown(endpoint) for endpoint in await list_endpoints(connection, tenant_id))

    async def read(self, tenant_id: UUID, endpoint_id: UUID) -> EndpointOut:
        """One of the tenant's endpoints. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(tenant_id) as connection:
            return _shown(_found(await read_endpoint(connection, tenant_id, endpoint_id)))

    async def change(self, who: Principal, endpoint_id: UUID, wanted: EndpointChange) -> EndpointOut:
        """Change what is given.

        Raises `MedialaneError`: not_found, webhook_url_refused, invalid_request for unknown events.
        """
        if wanted.url is not None:
            check_url(wanted.url, allow_private=self._allow_private)
        events = None if wanted.events is None else _events(wanted.events)
        told = {
            "host": None if wanted.url is None else _host(wanted.url),
            "events": events,
            "enabled": wanted.enabled,
            "descriptionChanged": None if wanted.description is None else True,  # not to what: the log outlives it
        }
        async with self._database.tenant(who.tenant_id) as connection:
            changed = _found(
                await change_endpoint(
                    connection,
                    who.tenant_id,
                    endpoint_id,
                    url=wanted.url,
                    events=events,
                    description=wanted.description,
                    enabled=wanted.enabled,
                )
            )
            if detail := {name: value for name, value in told.items() if value is not None}:
                await note(connection, who, "webhook.change", endpoint_id, detail)
        return _shown(changed)

    async def rotate_secret(
        self, who: Principal, endpoint_id: UUID, wanted: SecretRotation, keep: Keep[EndpointCreated]
    ) -> EndpointCreated:
        """A new secret for an endpoint; deliveries are signed with the old one, too, until the overlap ends.

        Raises `MedialaneError`: not_found, conflict while an earlier overlap lasts.
        """
        key = signing_key(wanted.secret)
        async with self._database.tenant(who.tenant_id) as connection:
            rotated = _found(
                await rotate_secret(
                    connection,
                    who.tenant_id,
                    endpoint_id,
                    sealed_secret=self._box.seal(key),
                    overlap_s=wanted.overlap_seconds,
                )
            )
            detail = {"overlapSeconds": wanted.overlap_seconds}
            await note(connection, who, "webhook.rotate_secret", endpoint_id, detail)
            shown_once = _with_secret(rotated, key)
            await keep(connection, shown_once)
        return shown_once

    async def test(
        self,
        who: Principal,
        endpoint_id: UUID,
        wanted: TestWanted,
        keep: Keep[Success[SentTest]],
        *,
        traceparent: str | None,
    ) -> Success[SentTest]:
        """Make a delivery of an example, due now.

        Raises `MedialaneError`: not_found, webhook_disabled, invalid_request for an unknown event.
        """
        if wanted.type is not None and wanted.type not in EVENT_TYPES:
            raise _unknown(wanted.type, field="type")
        async with self._database.tenant(who.tenant_id) as connection:
            registered = await testable_endpoint(connection, who.tenant_id, endpoint_id)
            known = (name for name in registered if name in EVENT_TYPES)
            event = example_event(wanted.type or next(known, AssetReady.event_type), who.tenant_id)
            payload = body_of_test(event)
            made = await insert_test(connection, endpoint_id, event, payload=payload, traceparent=traceparent)
            await note(connection, who, "webhook.test", endpoint_id, {"type": event.event_type})
            sent = Success(data=SentTest(delivery_id=made, event_id=event.id, type=event.event_type))
            await keep(connection, sent)
        return sent

    async def delete(self, who: Principal, endpoint_id: UUID) -> None:
        """Stop sending to an endpoint. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(who.tenant_id) as connection:
            if not await delete_endpoint(connection, who.tenant_id, endpoint_id):
                raise MedialaneError(ErrorCode.NOT_FOUND)
            await note(connection, who, "webhook.delete", endpoint_id, {})


def _events(wanted: Sequence[str]) -> tuple[str, ...]:
    for name in wanted:
        if name != ALL_EVENTS and name not in EVENT_TYPES:
            raise _unknown(name, field="events", rest=", or * for all")
    return tuple(dict.fromkeys(wanted))


def _shown(endpoint: Endpoint) -> EndpointOut:
    return EndpointOut(**msgspec.structs.asdict(endpoint))


def _unknown(name: str, *, field: str, rest: str = "") -> MedialaneError:
    detail = f"There is no event {name[:64]!r}; these are: {', '.join(EVENT_TYPES)}{rest}."
    return MedialaneError(ErrorCode.INVALID_REQUEST, detail, field=field)


def _host(url: str) -> str | None:
    # The host only: with many receivers, what follows it is the permission.
    return URL(url).host


def _found(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise MedialaneError(ErrorCode.NOT_FOUND)
    return endpoint


def _with_secret(endpoint: Endpoint, key: bytes) -> EndpointCreated:
    return EndpointCreated(**msgspec.structs.asdict(endpoint), secret=shown(key))
