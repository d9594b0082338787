"""Routes of `/api/v1/keys`."""

from functools import partial
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from api.cursors import MAX_PAGE, Cursor
from api.envelope import Done, Success
from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.keys.models import KeyMade, KeyPage, KeyRequest, RotationRequest
from api.keys.service import KeyService
from api.principals import SCOPE_OPT, TenantRequest
from connectors.postgres.accounts.keys import MAX_KEYS
from schemas.scopes import Scope

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Most keys of the page")]
_NEEDED = {SCOPE_OPT: Scope.KEYS}


def keys_router(service: KeyService, once: Once) -> Router:
    """The routes on top of a service."""

    @post(
        "/",
        opt=_NEEDED,
        operation_id="mintKey",
        summary="Make an API key",
        description="The answer holds the key; it is not shown again. A tenant has at most "
        f"{MAX_KEYS} keys that work; beyond them it is 403 (`quota_exceeded`).",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def mint(
        request: TenantRequest, data: JSONBody[KeyRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[KeyMade]]:
        work = partial(service.mint, request.user, data)
        return await once.made(request, idempotency_key, work, holder=request.user)

    @get(
        "/",
        opt=_NEEDED,
        operation_id="listKeys",
        summary="API keys, newest first",
        description="Those that were revoked or have expired are listed, too, for some months.",
        responses=documented(400, 401, 403, 429),
    )
    async def listing(request: TenantRequest, limit: Limit = MAX_PAGE, cursor: Cursor = None) -> KeyPage:
        return await service.list(request.user, limit, cursor)

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
        description="The new key has the old one's name and scopes; the old one goes on for the overlap. Meanwhile "
        f"both count among the {MAX_KEYS} that a tenant may have; without an overlap it takes the old one's place.",
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
