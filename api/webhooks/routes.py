"""Routes of `/api/v1/webhooks`."""

from functools import partial
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from api.envelope import Done, Success
from api.exact import exact
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from api.webhooks.models import (
    EndpointChange,
    EndpointCreated,
    EndpointOut,
    EndpointRequest,
    SecretRotation,
    SentTest,
    TestWanted,
)
from api.webhooks.service import WebhookService
from connectors.postgres.webhooks.endpoints import MAX_ENDPOINTS
from connectors.telemetry.tracing import current_traceparent
from schemas.scopes import Scope

_NEEDED = {SCOPE_OPT: Scope.WEBHOOKS}


def webhooks_router(service: WebhookService, once: Once) -> Router:
    """The routes on top of a service."""
    handlers = [*_registering(service, once), *_changing(service), *_acting(service, once)]
    return Router("/api/v1/webhooks", route_handlers=handlers, tags=["webhooks"])


def _registering(service: WebhookService, once: Once) -> list[HTTPRouteHandler]:
    @post(
        "/",
        opt=_NEEDED,
        operation_id="registerWebhook",
        summary="Register an endpoint",
        description="The answer holds the secret that deliveries are signed with; it is not shown again. A tenant has "
        f"{MAX_ENDPOINTS} endpoints at most; beyond them it is 403 (`quota_exceeded`).",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def register(
        request: TenantRequest, data: JSONBody[EndpointRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[EndpointCreated]]:
        return await once.made(request, idempotency_key, partial(service.register, request.user, data))

    @get(
        "/",
        opt=_NEEDED,
        operation_id="listWebhooks",
        summary="Registered endpoints",
        responses=documented(401, 403, 429),
    )
    async def listing(request: TenantRequest) -> Success[tuple[EndpointOut, ...]]:
        return Success(data=await service.list(tenant_of(request)))

    return [register, listing]


def _changing(service: WebhookService) -> list[HTTPRouteHandler]:
    @get(
        "/{endpoint_id:uuid}",
        opt=_NEEDED,
        operation_id="readWebhook",
        summary="One endpoint",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def read(request: TenantRequest, endpoint_id: FromPath[UUID]) -> Success[EndpointOut]:
        return Success(data=await service.read(tenant_of(request), endpoint_id))

    @patch(
        "/{endpoint_id:uuid}",
        opt=_NEEDED,
        operation_id="changeWebhook",
        summary="Change an endpoint, or switch it off or on",
        description="Holds at once, also for what waits: that goes to the new address, or is given up when it comes "
        "due while the endpoint is off. Switching on ends what disabled it, such as a 410.",
        responses=documented(400, 401, 403, 404, 413, 422, 429),
    )
    async def change(
        request: TenantRequest, endpoint_id: FromPath[UUID], data: JSONBody[EndpointChange]
    ) -> Success[EndpointOut]:
        await exact(request, EndpointChange)
        return Success(data=await service.change(request.user, endpoint_id, data))

    @delete(
        "/{endpoint_id:uuid}",
        status_code=200,
        opt=_NEEDED,
        operation_id="deleteWebhook",
        summary="Stop sending to an endpoint",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def remove(request: TenantRequest, endpoint_id: FromPath[UUID]) -> Done:
        await service.delete(request.user, endpoint_id)
        return Done(message="Webhook deleted")

    return [read, change, remove]


def _acting(service: WebhookService, once: Once) -> list[HTTPRouteHandler]:
    @post(
        "/{endpoint_id:uuid}/secret/rotate",
        opt=_NEEDED,
        operation_id="rotateWebhookSecret",
        summary="Follow an endpoint's secret by a new one",
        description="The answer holds the new secret; it is not shown again. Until the overlap ends, "
        "`webhook-signature` has two signatures, the new secret's first; `X-Webhook-Signature` has the new one's. "
        "While an earlier overlap lasts it is 409 (`conflict`), but for an overlap of 0, which ends that, too.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def rotate(
        request: TenantRequest,
        endpoint_id: FromPath[UUID],
        data: JSONBody[SecretRotation],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Success[EndpointCreated]]:
        await exact(request, SecretRotation)
        work = partial(service.rotate_secret, request.user, endpoint_id, data)
        return await once.made(request, idempotency_key, work)

    @post(
        "/{endpoint_id:uuid}/test",
        status_code=202,
        opt=_NEEDED,
        operation_id="testWebhook",
        summary="Send an example to an endpoint",
        description="One delivery like any other, but for `test: true` in its body and an asset that is nobody's, "
        "whatever the endpoint is registered for. It is sent within a second or so. 409 (`webhook_disabled`) if the "
        "endpoint is disabled.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def test(
        request: TenantRequest,
        endpoint_id: FromPath[UUID],
        data: JSONBody[TestWanted],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Success[SentTest]]:
        work = partial(service.test, request.user, endpoint_id, data, traceparent=current_traceparent())
        return await once.acted(request, idempotency_key, 202, work)

    return [rotate, test]
