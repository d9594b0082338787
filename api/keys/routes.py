"""Routes of `/api/v1/keys`."""

from functools import partial
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from api.envelope import Done, Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.keys.models import KeyMade, KeyOut, KeyRequest, RotationRequest
from api.keys.service import KeyService
from api.principals import SCOPE_OPT, TenantRequest
from schemas.scopes import Scope

_NEEDED = {SCOPE_OPT: Scope.KEYS}


def keys_router(service: KeyService, once: Once) -> Router:
    """The routes on top of a service."""

    @post(
        "/",
        opt=_NEEDED,
        operation_id="mintKey",
        summary="Make an API key",
        description="The answer holds the key; it is not shown again.",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def mint(
        request: TenantRequest, data: JSONBody[KeyRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[KeyMade]]:
        work = partial(service.mint, request.user, data)
        return await once.made(request, idempotency_key, work, holder=request.user)

    @get("/", opt=_NEEDED, operation_id="listKeys", summary="API keys", responses=documented(401, 403, 429))
    async def listing(request: TenantRequest) -> Success[tuple[KeyOut, ...]]:
        return Success(data=await service.list(request.user))

    @delete(
        "/{key_id:uuid}",
        status_code=200,
        opt=_NEEDED,
        operation_id="revokeKey",
        summary="Revoke an API key",
        description="Every process follows within two seconds. Repeating it changes nothing.",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def revoke(request: TenantRequest, key_id: FromPath[UUID]) -> Done:
        await service.revoke(request.user, key_id)
        return Done(message="Key revoked")

    @post(
        "/{key_id:uuid}/rotate",
        opt=_NEEDED,
        operation_id="rotateKey",
        summary="Follow an API key by a new one",
        description="The new key has the old one's name and scopes; the old one goes on for the overlap.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def rotate(
        request: TenantRequest,
        key_id: FromPath[UUID],
        data: JSONBody[RotationRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Success[KeyMade]]:
        work = partial(service.rotate, request.user, key_id, data)
        return await once.made(request, idempotency_key, work, holder=request.user)

    return Router("/api/v1/keys", route_handlers=[mint, listing, revoke, rotate], tags=["keys"])
