"""Routes of `/api/v1/storage`."""

from litestar import Response, Router, post
from litestar.params import JSONBody

from api.envelope import Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest
from api.storage.models import PresignedUpload, PresignRequest
from api.storage.service import StorageService
from connectors.telemetry.tracing import current_traceparent
from schemas.scopes import Scope


def storage_router(service: StorageService, once: Once) -> Router:
    """The routes on top of a service; each POST is done once per Idempotency-Key."""

    @post(
        "/presign",
        status_code=200,
        opt={SCOPE_OPT: Scope.ASSETS_WRITE},
        operation_id="presignUpload",
        summary="Announce an upload",
        description="PUT the bytes to `uploadUrl` with the same `Content-Type`, then call complete.",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def presign(
        request: TenantRequest, data: JSONBody[PresignRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[PresignedUpload]]:
        async def work() -> Success[PresignedUpload]:
            upload = await service.presign(request.user, data, traceparent=current_traceparent())
            return Success(data=upload)

        return await once.answer(request, idempotency_key, 200, work)

    return Router("/api/v1/storage", route_handlers=[presign], tags=["storage"])
