"""Routes of `/api/v1/uploads`, where Uppy's `endpoint` option points (with `shouldUseMultipart`)."""

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter

from api.failures import documented
from api.idempotency import IdempotencyKey, Once
from api.principals import SCOPE_OPT, TenantRequest
from api.uploads.models import (
    MOST_PARTS,
    DoneParts,
    Location,
    MultipartCreated,
    MultipartRequest,
    Nothing,
    SignedPart,
    SignedParts,
    UploadedPart,
)
from api.uploads.service import MultipartService
from connectors.telemetry.tracing import current_traceparent
from schemas.patterns import whole
from schemas.scopes import Scope

MOST_SIGNED = 1000

_NUMBER = "([1-9][0-9]{0,3}|10000)"
_MOST_BODY_BYTES = 2 << 20  # ten thousand parts, each with its number and ETag

Key = Annotated[
    str | None,
    QueryParameter(max_length=1024, description="The object's key; if it is sent, it has to be the right one"),
]
PartNumbers = Annotated[
    str,
    QueryParameter(
        name="partNumbers",
        pattern=whole(
            rf"{_NUMBER}(,{_NUMBER}){{0,{MOST_SIGNED - 1}}}",
            f"at most {MOST_SIGNED:,} numbers from 1 to 10000, comma separated",
        ),
        description=f"Part numbers from 1, comma separated, at most {MOST_SIGNED}",
    ),
]
Number = Annotated[int, PathParameter(ge=1, le=MOST_PARTS, description="The part's number")]
_NEEDED = {SCOPE_OPT: Scope.ASSETS_WRITE}


def uploads_router(service: MultipartService, once: Once) -> Router:
    """The routes on top of a service."""

    @post(
        "/",
        status_code=200,
        opt=_NEEDED,
        operation_id="createMultipart",
        summary="Begin an upload in parts",
        description="`uploadId` is the id of the asset. It stays open for seven days.",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def create(
        request: TenantRequest, data: JSONBody[MultipartRequest], idempotency_key: IdempotencyKey = None
    ) -> Response[MultipartCreated]:
        async def work() -> MultipartCreated:
            return await service.create(request.user, data, traceparent=current_traceparent())

        return await once.answer(request, idempotency_key, 200, work)

    @get(
        "/{asset_id:uuid}",
        opt=_NEEDED,
        operation_id="listParts",
        summary="The parts that are there",
        responses=documented(400, 401, 403, 404, 409, 429),
    )
    async def listing(request: TenantRequest, asset_id: FromPath[UUID], key: Key = None) -> tuple[UploadedPart, ...]:
        return await service.list(request.user, asset_id, key)

    @get(
        "/{asset_id:uuid}/batch",
        opt=_NEEDED,
        operation_id="signParts",
        summary="Addresses for parts",
        responses=documented(400, 401, 403, 404, 409, 429),
    )
    async def sign_many(
        request: TenantRequest, asset_id: FromPath[UUID], part_numbers: PartNumbers, key: Key = None
    ) -> SignedParts:
        numbers = [int(part) for part in part_numbers.split(",")]
        return await service.sign_many(request.user, asset_id, key, numbers)

    @get(
        "/{asset_id:uuid}/{number:int}",
        opt=_NEEDED,
        operation_id="signPart",
        summary="An address for a part",
        responses=documented(400, 401, 403, 404, 409, 429),
    )
    async def sign(request: TenantRequest, asset_id: FromPath[UUID], number: Number, key: Key = None) -> SignedPart:
        return await service.sign(request.user, asset_id, key, number)

    @post(
        "/{asset_id:uuid}/complete",
        status_code=200,
        opt=_NEEDED,
        operation_id="completeMultipart",
        request_max_body_size=_MOST_BODY_BYTES,
        summary="Make the file of its parts",
        description="Also completes the asset: nothing else is to be called. Safe to repeat.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def complete(
        request: TenantRequest,
        asset_id: FromPath[UUID],
        data: JSONBody[DoneParts],
        key: Key = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Location]:
        async def work() -> Location:
            traceparent = current_traceparent()
            return await service.complete(request.user, asset_id, key, data.parts, traceparent=traceparent)

        return await once.answer(request, idempotency_key, 200, work)

    @delete(
        "/{asset_id:uuid}",
        status_code=200,
        opt=_NEEDED,
        operation_id="abortMultipart",
        summary="Give an upload up",
        description="Its parts and its asset are deleted.",
        responses=documented(400, 401, 403, 404, 409, 429),
    )
    async def abort(request: TenantRequest, asset_id: FromPath[UUID], key: Key = None) -> Nothing:
        await service.abort(request.user, asset_id, key)
        return Nothing()

    handlers = [create, listing, sign_many, sign, complete, abort]
    return Router("/api/v1/uploads/s3/multipart", route_handlers=handlers, tags=["uploads"])
