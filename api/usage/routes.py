"""The route of `/api/v1/usage`."""

from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from api.envelope import Success
from api.failures import documented
from api.principals import SCOPE_OPT, TenantRequest, tenant_of
from api.usage.models import UsageOut
from api.usage.service import MOST_DAYS, UsageReader
from schemas.scopes import Scope

Days = Annotated[int, QueryParameter(ge=1, le=MOST_DAYS, description="How many days, today (UTC) included")]


def usage_router(reader: UsageReader) -> Router:
    """The route on top of the service."""

    @get(
        "/",
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        operation_id="readUsage",
        summary="What was used, by day",
        description="Jobs, CPU seconds, bytes and waits, as the events tell them; the last seconds may be missing. "
        "For following and planning, not for invoices.",
        responses=documented(400, 401, 403, 429),
    )
    async def read(request: TenantRequest, days: Days = 7) -> Success[UsageOut]:
        return Success(data=await reader.read(tenant_of(request), days))

    return Router("/api/v1/usage", route_handlers=[read], tags=["usage"])
