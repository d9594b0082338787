"""The route of an asset's original."""

from uuid import UUID

from litestar import Response, Router, get
from litestar.params import FromPath

from api.attachments import Download, is_wanted
from api.envelope import Success
from api.failures import documented
from api.originals.models import OriginalOut
from api.originals.service import OriginalReader
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from schemas.scopes import Scope


def originals_router(originals: OriginalReader) -> Router:
    """The route on top of the service."""

    @get(
        "/{asset_id:uuid}/original",
        status_code=307,
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="readOriginal",
        summary="The bytes that were uploaded",
        description="Redirects to an address at the object store that is signed for five minutes. 409 if nothing was "
        "completed (`upload_missing`), or the bytes are no longer there (`source_missing`, `source_changed`).",
        responses=documented(400, 401, 403, 404, 409, 429),
    )
    async def original(
        request: TenantRequest, asset_id: FromPath[UUID], download: Download = None
    ) -> Response[Success[OriginalOut]]:
        found = await originals.read(tenant_of(request), asset_id, download=is_wanted(download))
        return Response(Success(data=found), status_code=307, headers={"Location": found.url})

    return Router("/api/v1/assets", route_handlers=[original], tags=["assets"])
