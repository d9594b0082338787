"""Routes for whoever runs the process; they need no key, so they tell nothing about tenants."""

import msgspec
from litestar import HttpMethod, Response, Router, get, route
from litestar.openapi.datastructures import ResponseSpec

from api.health.service import Readiness
from connectors.telemetry.metrics import CONTENT_TYPE, Metrics


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`ok`, or `unavailable` with a line per problem."""

    status: str
    problems: tuple[str, ...] = ()


def health_router(readiness: Readiness, metrics: Metrics) -> Router:
    """The routes on top of the checks."""

    @get("/healthz", operation_id="healthz", summary="The process answers")
    async def healthz() -> Health:
        return Health(status="ok")

    @get(
        "/readyz",
        operation_id="readyz",
        summary="The process and what it depends on can serve",
        responses={503: ResponseSpec(Health, description="It cannot; `problems` says why", generate_examples=False)},
    )
    async def readyz() -> Response[Health]:
        return await _ready(readiness)

    # Some load balancers ask without wanting to read.
    @route("/healthz", http_method=HttpMethod.HEAD, include_in_schema=False)
    async def healthz_head() -> Health:
        return Health(status="ok")

    @route("/readyz", http_method=HttpMethod.HEAD, include_in_schema=False)
    async def readyz_head() -> Response[Health]:
        return await _ready(readiness)

    @get("/metrics", include_in_schema=False)
    async def scrape() -> Response[bytes]:
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return Router("/", route_handlers=[healthz, healthz_head, readyz, readyz_head, scrape], tags=["health"])


async def _ready(readiness: Readiness) -> Response[Health]:
    problems = await readiness.problems()
    health = Health(status="unavailable" if problems else "ok", problems=problems)
    return Response(health, status_code=503 if problems else 200)
