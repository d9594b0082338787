"""Spans and W3C trace context: one `Tracing` per process, handed to whoever makes spans.

Tracing(service, otlp_endpoint=None, exporter=None)        exporter: an in-memory one, in tests
tracing.span(name, kind=..., parent_traceparent=None, links=(), attributes=None) -> context manager of the Span
tracing.past(name, began, ended)                           a span of what is over
tracing.provider                                           for instrumentation libraries
tracing.shutdown()                                         sends what is still buffered
current_traceparent() -> str | None                        of the current span, to store or to send
trace_id(traceparent) -> str | None                        its 32 hex digits
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")

Attributes = Mapping[str, AttributeValue]


class Tracing:
    """Makes this process's spans and exports them, by OTLP/HTTP in batches or to a given exporter at once.

    Without either, spans still have ids (so traces run through to receivers) and go nowhere.
    """

    def __init__(
        self,
        service: str,
        *,
        otlp_endpoint: str | None = None,
        exporter: SpanExporter | None = None,
        version: str = "",
    ) -> None:
        self.provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service, SERVICE_VERSION: version}))
        if otlp_endpoint is not None:
            address = f"{otlp_endpoint.rstrip('/')}/v1/traces"
            self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
        if exporter is not None:
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("medialane", version)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent_traceparent: str | None = None,
        new_trace: bool = False,
        links: Iterable[str | None] = (),
        attributes: Attributes | None = None,
    ) -> Iterator[Span]:
        """A span that is current inside the `with`; an exception that leaves it is recorded on it.

        Parent: `parent_traceparent` if it is valid, nothing if `new_trace`, else the current span. `links` are
        traceparents; what is None or malformed is left out.
        """
        context = Context() if new_trace else None
        parent = parse_traceparent(parent_traceparent)
        if parent is not None and not new_trace:
            context = trace.set_span_in_context(NonRecordingSpan(parent), Context())
        known = [Link(link) for link in map(parse_traceparent, links) if link is not None]
        with self._tracer.start_as_current_span(
            name, context=context, kind=kind, links=known, attributes=attributes
        ) as span:
            yield span

    def past(self, name: str, began: float, ended: float) -> None:
        """A span, below the current one, of what is over: from when to when, in Unix seconds."""
        self._tracer.start_span(name, start_time=_nanoseconds(began)).end(_nanoseconds(ended))

    def shutdown(self) -> None:
        """Export what is buffered and stop; spans made later go nowhere."""
        self.provider.shutdown()


def _nanoseconds(unix_s: float) -> int:
    return int(unix_s * 1e9)


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the current span; None outside every span."""
    return traceparent_of(trace.get_current_span())


def traceparent_of(span: Span) -> str | None:
    """The W3C `traceparent` of a span; None if it has no valid context."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parse_traceparent(value: str | None) -> SpanContext | None:
    """The context that a W3C `traceparent` names; None for none, or for one that is malformed or all zeros."""
    match = _TRACEPARENT.match(value) if value else None
    if match is None:
        return None
    context = SpanContext(
        trace_id=int(match[1], 16),
        span_id=int(match[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(match[3], 16)),
    )
    return context if context.is_valid else None


def trace_id(traceparent: str | None) -> str | None:
    """The 32 hex digits of a traceparent's trace; None if it has none."""
    context = parse_traceparent(traceparent)
    return None if context is None else format(context.trace_id, "032x")
