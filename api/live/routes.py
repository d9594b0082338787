"""The route of an asset's event stream."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from litestar import Router, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from litestar.response import Stream

from api.failures import documented
from api.live.service import Live
from api.principals import SCOPE_OPT, Authenticator, TenantRequest, tenant_of
from schemas.scopes import Scope

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Send
    from litestar.types import Scope as ASGIScope

_LARGEST_SEQ = (1 << 53) - 1  # JSON Schema has no larger whole number that all read alike

LastEventId = Annotated[
    int,
    HeaderParameter(
        name="Last-Event-ID",
        ge=0,
        le=_LARGEST_SEQ,
        description="`seq` of the last event that was seen; 0: from the first",
    ),
]


_HELD = "medialane_held"


def _holding(app: "ASGIApp") -> "ASGIApp":
    """Gives back with the request what the handler took for it: a stream that nobody begins to read ends nothing."""

    async def held(scope: "ASGIScope", receive: "Receive", send: "Send") -> None:
        with ExitStack() as stack:
            scope["state"][_HELD] = stack
            await app(scope, receive, send)

    return held


def live_router(live: Live, authenticator: Authenticator) -> Router:
    """The route on top of the service; a stream that lasts asks the authenticator again."""

    @get(
        "/{asset_id:uuid}/events",
        opt={SCOPE_OPT: Scope.ASSETS_READ},
        middleware=[_holding],
        operation_id="streamEvents",
        summary="An asset's events, as they happen",
        description="Server-sent events: `id` is the event's `seq`, `event` its type, `data` the event. What was "
        "missed since `Last-Event-ID` comes first, without a gap. The stream ends after a while: come again. It also "
        "ends soon after its key does.",
        media_type="text/event-stream",
        responses=documented(400, 401, 403, 404, 429)
        | {200: ResponseSpec(str, description="A stream", media_type="text/event-stream", generate_examples=False)},
    )
    async def events(request: TenantRequest, asset_id: FromPath[UUID], last_event_id: LastEventId = 0) -> Stream:
        tenant_id = tenant_of(request)
        await live.begin(request.scope["state"][_HELD], tenant_id, asset_id)
        header = request.headers.get("authorization")
        return Stream(
            live.stream(tenant_id, asset_id, last_event_id, admitted=lambda: authenticator.admits(header)),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},  # a proxy must not collect it
        )

    return Router("/api/v1/assets", route_handlers=[events], tags=["assets"])
