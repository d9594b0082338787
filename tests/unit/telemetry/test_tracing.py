"""Trace context and log lines."""

import io
import json
import logging

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from connectors.telemetry import Telemetry, current_traceparent, trace_id
from connectors.telemetry.messaging import header_traceparent
from connectors.telemetry.tracing import Tracing, parse_traceparent
from schemas.settings import TelemetrySettings

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    return Tracing("test", exporter=exporter)


@pytest.fixture
def restored_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_span_continues_the_trace_it_is_given(tracing, exporter):
    with tracing.span("work", parent_traceparent=PARENT, kind=SpanKind.CONSUMER, attributes={"n": 1}):
        inside = current_traceparent()
        assert trace_id(inside) == trace_id(PARENT)
        assert inside != PARENT
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind, span.attributes["n"]) == ("work", SpanKind.CONSUMER, 1)
    assert format(span.parent.span_id, "016x") == "00f067aa0ba902b7"
    assert current_traceparent() is None


def test_a_new_trace_links_to_the_old_one(tracing, exporter):
    with tracing.span("outer", parent_traceparent=PARENT), tracing.span("retry", new_trace=True, links=[PARENT, None]):
        assert trace_id(current_traceparent()) != trace_id(PARENT)
    retry = exporter.get_finished_spans()[0]
    assert retry.parent is None
    assert [format(link.context.trace_id, "032x") for link in retry.links] == [trace_id(PARENT)]


def test_an_exception_is_recorded_and_goes_on(tracing, exporter):
    with pytest.raises(KeyError), tracing.span("work"):
        raise KeyError("gone")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "nonsense",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_traceparent_starts_a_trace(tracing, value):
    assert parse_traceparent(value) is None
    assert trace_id(value) is None
    with tracing.span("work", parent_traceparent=value):
        assert current_traceparent() is not None


def test_every_log_line_is_json_with_the_spans_ids(restored_logging):
    stream = io.StringIO()
    telemetry = Telemetry.start(TelemetrySettings(), process="api", stream=stream)
    with telemetry.tracing.span("work", parent_traceparent=PARENT):
        structlog.get_logger("ours").info("done", count=2)
        logging.getLogger("library").warning("slow %s", "disk")
    structlog.get_logger("ours").debug("not shown at info")
    try:
        int("x")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    ours, library, failed = map(json.loads, stream.getvalue().splitlines())
    assert (ours["event"], ours["count"], ours["level"], ours["service"]) == ("done", 2, "info", "medialane-api")
    assert ours["trace_id"] == library["trace_id"] == trace_id(PARENT)
    assert len(ours["span_id"]) == 16
    assert (library["event"], library["logger"]) == ("slow disk", "library")
    assert failed["exception"][0]["exc_type"] == "ValueError"
    assert "locals" not in failed["exception"][0]["frames"][0]  # they may hold secrets
    assert "trace_id" not in failed


def test_record_headers():
    headers = [("traceparent", b"first"), ("traceparent", PARENT.encode()), ("other", None)]
    assert header_traceparent(headers) == PARENT
    assert header_traceparent([("traceparent", b"\xff")]) is None
    assert header_traceparent(None) is None


def test_a_library_says_the_same_once_in_a_while(restored_logging, monkeypatch):
    stream = io.StringIO()
    Telemetry.start(TelemetrySettings(), process="webhooks", stream=stream)
    library, ours = logging.getLogger("aiokafka"), structlog.get_logger("streams.some")
    for node in range(80):
        library.error("Unable connect to node with id %s: %s", node, OSError(node))
        library.error("Unable to update metadata from %s", [node])
        ours.warning("no commit")
    try:
        int("x")
    except ValueError:
        library.exception("Unable to update metadata from %s", [1])
    said = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert sorted(set(said)) == ["Unable connect to node with id 0: 0", "Unable to update metadata from [0]",
        "Unable to update metadata from [1]", "no commit"]  # fmt: skip
    assert len(said) == 3 + 80
    monkeypatch.setattr("connectors.telemetry.logs._SAME_S", 0.0)
    library.error("Unable connect to node with id %s: %s", 1, "later")
    assert "later" in stream.getvalue()
