"""The route of a pull."""

from functools import partial

from litestar import Response, Router, post
from litestar.params import JSONBody

from api.envelope import Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest
from api.pulls.models import PulledAsset, PullRequest
from api.pulls.service import PullService
from connectors.telemetry.tracing import current_traceparent
from schemas.scopes import Scope


def pulls_router(service: PullService, once: Once) -> Router:
    """The route on top of the service."""

    @post(
        "/",
        opt={SCOPE_OPT: Scope.ASSETS_WRITE},
        operation_id="pullAsset",
        summary="Make an asset of a file at a remote address",
        description="The answer comes when the file is fetched and its processing has begun: wait for it, and repeat "
        "the request under its `Idempotency-Key` if it is lost. Redirects are followed; addresses on private networks "
        "are refused.",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def pull(
        request: TenantRequest, data: JSONBody[PullRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[PulledAsset]]:
        work = partial(service.pull, request.user, data, traceparent=current_traceparent())
        return await once.made(request, idempotency_key, work)

    return Router("/api/v1/assets", route_handlers=[pull], tags=["assets"])
