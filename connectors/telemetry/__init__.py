"""Logs, traces and metrics of one process, made at its start and handed to whoever needs them.

    telemetry = Telemetry.start(settings, process="api")        # configures logging for the whole process
    telemetry.tracing, telemetry.metrics                        # see tracing.py, metrics.py
    telemetry.stop()

Modules log with `structlog.get_logger(__name__)`; tests pass `exporter=InMemorySpanExporter()`.
"""

from typing import NamedTuple, Self, TextIO

from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import CollectorRegistry

from connectors.telemetry.logs import configure_logs
from connectors.telemetry.metrics import Metrics, release
from connectors.telemetry.tracing import Tracing, current_traceparent, trace_id
from schemas.metrics import Process
from schemas.settings import TelemetrySettings

__all__ = ["Metrics", "Telemetry", "Tracing", "current_traceparent", "trace_id"]


class Telemetry(NamedTuple):
    """What a process needs to be seen."""

    service: str
    tracing: Tracing
    metrics: Metrics

    @classmethod
    def start(
        cls,
        settings: TelemetrySettings,
        *,
        process: Process,
        exporter: SpanExporter | None = None,
        stream: TextIO | None = None,
    ) -> Self:
        """Configure logging (process-wide) and make the tracer and the metrics."""
        service = settings.service or f"medialane-{process}"
        configure_logs(service=service, level=settings.log_level, stream=stream)
        tracing = Tracing(service, otlp_endpoint=settings.otlp_endpoint, exporter=exporter, version=release())
        return cls(service, tracing, Metrics(CollectorRegistry(), process=process))

    def stop(self) -> None:
        """Send what is still buffered."""
        self.tracing.shutdown()
