"""Around the whole application: a span that goes on in the caller's trace, its ids on every answer, and RED metrics."""

import time
from typing import TYPE_CHECKING

from litestar.enums import ScopeType
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from api.headers import headers_of
from connectors.telemetry.metrics import Metrics, status_class
from connectors.telemetry.tracing import Tracing, traceparent_of
from schemas.metrics import HTTP_REQUEST_DURATION, HTTP_REQUESTS

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

# What a client may invent must not become a label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED = "unmatched"


class Observed:
    """An ASGI application that is seen."""

    def __init__(self, app: "ASGIApp", tracing: Tracing, metrics: Metrics) -> None:
        self._app = app
        self._tracing = tracing
        self._metrics = metrics

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._observe(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _observe(self, scope: "HTTPScope", receive: "Receive", send: "Send") -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        caller = _header(scope, b"traceparent")
        began, status = time.perf_counter(), 500
        with self._tracing.span(
            method, kind=SpanKind.SERVER, parent_traceparent=caller, new_trace=caller is None
        ) as span:
            extra = _trace_headers(span)

            async def send_with_trace(message: "Message") -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    message["headers"] = [*message.get("headers", ()), *extra, *headers_of(scope)]
                await send(message)

            try:
                await self._app(scope, receive, send_with_trace)
            finally:
                route = str(scope.get("path_template") or _UNMATCHED)
                _describe(span, method, route, status)
                labels = (method, route, status_class(status))
                self._metrics.counter(HTTP_REQUESTS, *labels).inc()
                self._metrics.histogram(HTTP_REQUEST_DURATION, *labels).observe(time.perf_counter() - began)


def _header(scope: "HTTPScope", wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _trace_headers(span: Span) -> list[tuple[bytes, bytes]]:
    traceparent = traceparent_of(span)
    if traceparent is None:
        return []
    return [(b"traceparent", traceparent.encode()), (b"x-trace-id", traceparent.split("-")[1].encode())]


def _describe(span: Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
