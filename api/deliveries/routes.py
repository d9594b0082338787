"""Routes of `/api/v1/webhooks/{id}` about what was sent to an endpoint."""

from functools import partial
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from api.cursors import Cursor
from api.deliveries.models import DeliveryDetail, DeliveryPage, RecoveredOut, RecoverRequest
from api.deliveries.query import Asset, EventType, Limit, State
from api.deliveries.service import DeliveryService
from api.envelope import Done, Success
from api.exact import exact
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from connectors.postgres.webhooks.delivery_views import DeliveryFilter
from schemas.scopes import Scope

_NEEDED = {SCOPE_OPT: Scope.WEBHOOKS}


def deliveries_router(service: DeliveryService, once: Once) -> Router:
    """The routes on top of a service."""
    handlers = [*_reading(service), *_sending(service, once)]
    return Router("/api/v1/webhooks/{endpoint_id:uuid}", route_handlers=handlers, tags=["webhooks"])


def _reading(service: DeliveryService) -> list[HTTPRouteHandler]:
    @get(
        "/deliveries",
        opt=_NEEDED,
        operation_id="listDeliveries",
        summary="Deliveries to an endpoint, newest first",
        description="In the order of their events. What has ended is kept for 30 days. 422 (`query_timeout`) for a "
        "page that takes longer than five seconds.",
        responses=documented(400, 401, 403, 404, 422, 429),
    )
    async def page(
        request: TenantRequest,
        endpoint_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
        in_state: State = None,
        event_type: EventType = None,
        asset_id: Asset = None,
    ) -> Success[DeliveryPage]:
        where = DeliveryFilter(state=in_state, event_type=event_type, asset_id=asset_id)
        found = await service.page(tenant_of(request), endpoint_id, limit=limit, cursor=cursor, where=where)
        return Success(data=found)

    @get(
        "/deliveries/{delivery_id:uuid}",
        opt=_NEEDED,
        operation_id="readDelivery",
        summary="One delivery, with its attempts",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def read(
        request: TenantRequest, endpoint_id: FromPath[UUID], delivery_id: FromPath[UUID]
    ) -> Success[DeliveryDetail]:
        return Success(data=await service.read(tenant_of(request), endpoint_id, delivery_id))

    return [page, read]


def _sending(service: DeliveryService, once: Once) -> list[HTTPRouteHandler]:
    @post(
        "/deliveries/{delivery_id:uuid}/resend",
        status_code=200,
        opt=_NEEDED,
        operation_id="resendDelivery",
        summary="Send a delivery again",
        description="One that was delivered, or is dead: at once, and by the whole schedule if that fails. Its body "
        "and `webhook-id` are the same. 409 while it is under way (`delivery_under_way`), and for an endpoint that is "
        "disabled (`webhook_disabled`).",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def resend(
        request: TenantRequest,
        endpoint_id: FromPath[UUID],
        delivery_id: FromPath[UUID],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Done]:
        work = partial(service.resend, request.user, endpoint_id, delivery_id)
        return await once.acted(request, idempotency_key, 200, work)

    @post(
        "/recover",
        status_code=200,
        opt=_NEEDED,
        operation_id="recoverWebhook",
        summary="Send again what an endpoint did not get",
        description="What is dead of the events of a time, the oldest first; while the answer says `more`, call again "
        "with its `nextCursor`. 409 for an endpoint that is disabled (`webhook_disabled`).",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def recover(
        request: TenantRequest,
        endpoint_id: FromPath[UUID],
        data: JSONBody[RecoverRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Success[RecoveredOut]]:
        await exact(request, RecoverRequest)
        work = partial(service.recover, request.user, endpoint_id, data)
        return await once.acted(request, idempotency_key, 200, work)

    return [resend, recover]
