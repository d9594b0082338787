"""Routes of `/api/v1/profiles`."""

from litestar import Router, get, put
from litestar.params import JSONBody

from api.envelope import Success
from api.failures import documented
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from api.profiles.models import ProfilesOut
from api.profiles.service import ProfileService
from schemas.profile_sets import ProfileChoice
from schemas.scopes import Scope


def profiles_router(service: ProfileService) -> Router:
    """The routes on top of a service."""

    @get(
        "/",
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="readProfiles",
        summary="See what is made of uploads",
        responses=documented(401, 403, 429),
    )
    async def read(request: TenantRequest) -> Success[ProfilesOut]:
        return Success(data=await service.read(tenant_of(request)))

    @put(
        "/",
        opt={SCOPE_OPT: Scope.PROFILES},
        operation_id="chooseProfiles",
        summary="Choose what is made of uploads",
        description="Holds for jobs that begin from now on; variants that are there stay. `reprocess` brings older "
        "assets up to it.",
        responses=documented(400, 401, 403, 413, 429),
    )
    async def choose(request: TenantRequest, data: JSONBody[ProfileChoice]) -> Success[ProfilesOut]:
        return Success(data=await service.save(request.user, data))

    return Router("/api/v1/profiles", route_handlers=[read, choose], tags=["profiles"])
