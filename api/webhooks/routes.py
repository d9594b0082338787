"""Routes of `/api/v1/webhooks`."""

from functools import partial
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from api.envelope import Done, Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from api.webhooks.models import EndpointCreated, EndpointOut, EndpointRequest
from api.webhooks.service import WebhookService
from connectors.postgres.endpoints import MAX_ENDPOINTS
from schemas.scopes import Scope

_NEEDED = {SCOPE_OPT: Scope.WEBHOOKS}


def webhooks_router(service: WebhookService, once: Once) -> Router:
    """The routes on top of a service."""

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

    return Router("/api/v1/webhooks", route_handlers=[register, listing, remove], tags=["webhooks"])
