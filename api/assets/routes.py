"""Routes of `/api/v1/assets`."""

from typing import Annotated
from uuid import UUID

from litestar import HttpMethod, Response, Router, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from api.assets.completion import Completion
from api.assets.models import AssetOut, AssetPage
from api.assets.service import AssetReader
from api.envelope import Done, Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from connectors.telemetry.tracing import current_traceparent
from schemas.scopes import Scope
from schemas.states import AssetState

MAX_PAGE = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Most assets of the page")]
Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]
InState = Annotated[AssetState | None, QueryParameter(name="state", description="Only assets in this state")]


def _complete_id(_handler: HTTPRouteHandler, method: object, _path: object) -> str:
    return "completeAssetByGet" if method == HttpMethod.GET else "completeAsset"


def assets_router(reader: AssetReader, completion: Completion, once: Once) -> Router:
    """The routes on top of the services."""

    @route(
        "/{asset_id:uuid}/complete",
        # GET because the reference system's clients send it; it changes state only the first time.
        http_method=[HttpMethod.GET, HttpMethod.POST],
        status_code=200,
        opt={SCOPE_OPT: Scope.ASSETS_WRITE},
        operation_id=_complete_id,
        summary="Say that the bytes are there",
        description="Compares the object with what was announced and starts the processing. Safe to repeat.",
        responses=documented(400, 401, 403, 404, 409, 422),
    )
    async def complete(
        request: TenantRequest, asset_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
    ) -> Response[Done]:
        async def work() -> Done:
            await completion.complete(tenant_of(request), asset_id, traceparent=current_traceparent())
            return Done(message="Asset marked as uploaded")

        return await once.answer(request, idempotency_key, 200, work)

    @get(
        "/{asset_id:uuid}",
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="readAsset",
        summary="One asset",
        description="State, variants with signed addresses, jobs and timeline.",
        responses=documented(401, 403, 404),
    )
    async def read(request: TenantRequest, asset_id: FromPath[UUID]) -> Success[AssetOut]:
        return Success(data=await reader.read(tenant_of(request), asset_id))

    @get(
        "/",
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="listAssets",
        summary="Assets, newest first",
        responses=documented(400, 401, 403),
    )
    async def page(
        request: TenantRequest,
        limit: Limit = 50,
        cursor: Cursor = None,
        in_state: InState = None,
    ) -> Success[AssetPage]:
        return Success(data=await reader.page(tenant_of(request), limit=limit, cursor=cursor, state=in_state))

    return Router("/api/v1/assets", route_handlers=[complete, read, page], tags=["assets"])
