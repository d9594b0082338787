"""Routes of `/api/v1/assets`."""

from functools import partial
from uuid import UUID

from litestar import HttpMethod, Response, Router, delete, get, patch, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from api.assets.completion import Completion
from api.assets.models import AssetChange, AssetOut, AssetPage, CompletedAsset, CompleteMany, UploadAgain
from api.assets.query import Filters, Include, Limit, Until, Wait, seconds
from api.assets.service import AssetReader
from api.assets.writing import AssetWriter
from api.cursors import Cursor
from api.envelope import Done, Success
from api.failures import documented
from api.headers import add_headers
from api.idempotency import IdempotencyKey, Once
from api.limits.rates import RateLimiter
from api.live.service import Live
from api.own_address import OwnAddress
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from api.storage.models import PresignedUpload
from api.storage.service import StorageService
from connectors.telemetry.tracing import current_traceparent
from schemas.scopes import Scope

_READ, _WRITE = {SCOPE_OPT: Scope.ASSETS_READ}, {SCOPE_OPT: Scope.ASSETS_WRITE}


def _complete_id(_handler: HTTPRouteHandler, method: object, _path: object) -> str:
    return "completeAssetByGet" if method == HttpMethod.GET else "completeAsset"


def assets_router(
    reader: AssetReader,
    writer: AssetWriter,
    completion: Completion,
    storage: StorageService,
    live: Live,
    once: Once,
    own_address: OwnAddress,
    limiter: RateLimiter,
) -> Router:
    """The routes on top of the services."""
    handlers = [
        *_uploading(completion, storage, once, limiter),
        *_reading(reader, live, own_address),
        *_writing(writer, once),
    ]
    return Router("/api/v1/assets", route_handlers=handlers, tags=["assets"])


def _uploading(
    completion: Completion, storage: StorageService, once: Once, limiter: RateLimiter
) -> list[HTTPRouteHandler]:
    @route(
        "/{asset_id:uuid}/complete",
        # GET because the reference system's clients send it; it changes state only the first time.
        http_method=[HttpMethod.GET, HttpMethod.POST],
        status_code=200,
        opt=_WRITE,
        operation_id=_complete_id,
        summary="Say that the bytes are there",
        description="Compares the object with what was announced, looks at its first bytes, and starts the "
        "processing. Safe to repeat.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def complete(
        request: TenantRequest, asset_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
    ) -> Response[Done]:
        async def work() -> Done:
            await completion.complete(tenant_of(request), asset_id, traceparent=current_traceparent())
            return Done(message="Asset marked as uploaded")

        return await once.answer(request, idempotency_key, 200, work)

    @post(
        "/complete",
        status_code=200,
        opt=_WRITE,
        operation_id="completeAssets",
        summary="Complete many uploads",
        description="Each by itself: the answer says what became of it. Each counts as a request; a batch of more than "
        "the plan allows at once has to be sent in smaller ones.",
        responses=documented(400, 401, 403, 409, 413, 422, 429),
    )
    async def complete_many(
        request: TenantRequest, data: JSONBody[CompleteMany], idempotency_key: IdempotencyKey = None
    ) -> Response[Success[tuple[CompletedAsset, ...]]]:
        async def work() -> Success[tuple[CompletedAsset, ...]]:
            traceparent = current_traceparent()
            # Each of them asks the store as a request of its own would.
            standing = await limiter.pay(request.user, len(set(data.asset_ids)), field="assetIds")
            if standing is not None:
                add_headers(request.scope, standing.headers())
            done = await completion.complete_many(tenant_of(request), data.asset_ids, traceparent=traceparent)
            return Success(data=done)

        return await once.answer(request, idempotency_key, 200, work)

    @post(
        "/{asset_id:uuid}/upload",
        status_code=200,
        opt=_WRITE,
        operation_id="presignAgain",
        summary="A new address for an announced upload",
        description="When the first one has expired. The bytes have to be what was announced.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def presign_again(
        request: TenantRequest,
        asset_id: FromPath[UUID],
        data: JSONBody[UploadAgain],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Success[PresignedUpload]]:
        async def work() -> Success[PresignedUpload]:
            return Success(data=await storage.sign_again(request.user, asset_id, data.method))

        return await once.answer(request, idempotency_key, 200, work)

    return [complete, complete_many, presign_again]


def _reading(reader: AssetReader, live: Live, own_address: OwnAddress) -> list[HTTPRouteHandler]:
    @get(
        "/{asset_id:uuid}",
        opt=_READ,
        operation_id="readAsset",
        summary="One asset",
        description="State, variants with signed addresses, jobs and timeline. With `wait`, not before its processing "
        "ended or so much time has passed; with `until=settled`, not before that of later stages did, either.",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def read(
        request: TenantRequest, asset_id: FromPath[UUID], wait: Wait = None, until: Until = "ready"
    ) -> Success[AssetOut]:
        if wait is not None:
            await live.wait(tenant_of(request), asset_id, seconds(wait), settled=until == "settled")
        return Success(data=await reader.read(tenant_of(request), asset_id, base=own_address.of(request)))

    @get(
        "/",
        opt=_READ,
        operation_id="listAssets",
        summary="Assets, newest first",
        description="With `include=variants`, each with what may be shown of it: a gallery is one request. "
        "422 (`query_timeout`) for one that takes longer than five seconds: narrow it by time, state or type.",
        responses=documented(400, 401, 403, 422, 429),
    )
    async def page(
        request: TenantRequest,
        limit: Limit = 50,
        cursor: Cursor = None,
        in_state: Filters.State = None,
        kind: Filters.Kind = None,
        created_from: Filters.From = None,
        created_to: Filters.To = None,
        tag: Filters.Tag = None,
        metadata: Filters.Metadata = None,
        include: Include = None,
    ) -> Success[AssetPage]:
        where = Filters.of(in_state, kind, created_from, created_to, tag, metadata)
        shown_at = None if include is None else own_address.of(request)
        found = await reader.page(tenant_of(request), limit=limit, cursor=cursor, where=where, shown_at=shown_at)
        return Success(data=found)

    return [read, page]


def _writing(writer: AssetWriter, once: Once) -> list[HTTPRouteHandler]:
    @patch(
        "/{asset_id:uuid}",
        opt=_WRITE,
        operation_id="changeAsset",
        summary="Replace metadata or tags",
        responses=documented(400, 401, 403, 404, 413, 429),
    )
    async def change(request: TenantRequest, asset_id: FromPath[UUID], data: JSONBody[AssetChange]) -> Done:
        await writer.change(request.user, asset_id, data)
        return Done(message="Asset changed")

    @post(
        "/{asset_id:uuid}/cancel",
        status_code=200,
        opt=_WRITE,
        operation_id="cancelAsset",
        summary="Stop the processing",
        description="409 if there is nothing to stop.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def cancel(
        request: TenantRequest, asset_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
    ) -> Response[Done]:
        work = partial(writer.cancel, request.user, asset_id, traceparent=current_traceparent())
        return await once.acted(request, idempotency_key, 200, work)

    @post(
        "/{asset_id:uuid}/process",
        status_code=200,
        opt=_WRITE,
        operation_id="processAsset",
        summary="Process again",
        description="Opens a new generation of an asset that is ready, failed or cancelled, with the profiles that are "
        "chosen by now, behind fresh uploads. What was made of the same bytes is used again, and stays readable. "
        "Second-stage jobs that a ready asset still has are stopped. 409 while it is under way, 403 (`quota_exceeded`) "
        "after a thousand times.",
        responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
    )
    async def process(
        request: TenantRequest, asset_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
    ) -> Response[Done]:
        work = partial(writer.process, request.user, asset_id, traceparent=current_traceparent())
        return await once.acted(request, idempotency_key, 200, work)

    @delete(
        "/{asset_id:uuid}",
        status_code=200,
        opt=_WRITE,
        operation_id="deleteAsset",
        summary="Delete an asset",
        description="It is gone at once; its objects are removed within the time that purging takes.",
        responses=documented(400, 401, 403, 404, 429),
    )
    async def remove(request: TenantRequest, asset_id: FromPath[UUID]) -> Done:
        await writer.delete(request.user, asset_id, traceparent=current_traceparent())
        return Done(message="Asset deleted")

    return [change, cancel, process, remove]
