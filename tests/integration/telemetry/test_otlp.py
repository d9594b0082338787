"""Spans reach a collector: a real OTLP/HTTP receiver, at the address that the setting names."""

import asyncio
import io

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.servers import serving

from connectors.telemetry import Telemetry
from schemas.settings import TelemetrySettings, load


class Collector:
    """Keeps what it is sent: path, content type, and the request as OTLP has it."""

    def __init__(self):
        self.received = []

    async def take(self, request):
        body = ExportTraceServiceRequest.FromString(await request.read())
        self.received.append((request.method, request.path, request.content_type, body))
        return web.Response(content_type="application/x-protobuf")


@pytest.mark.parametrize("end", ["", "/"])
async def test_what_a_process_has_not_sent_yet_goes_out_at_its_end(end):
    collector = Collector()
    async with serving(collector.take) as address:
        settings = load(TelemetrySettings, {"MEDIALANE_TELEMETRY_OTLP_ENDPOINT": address + end})
        telemetry = Telemetry.start(settings, process="keeper", stream=io.StringIO())
        with (
            telemetry.tracing.span("outer") as outer,
            telemetry.tracing.span("inner", attributes={"medialane.epoch": 3}),
        ):
            pass
        await asyncio.to_thread(telemetry.stop)
    [(method, path, content_type, body)] = collector.received
    assert (method, path, content_type) == ("POST", "/v1/traces", "application/x-protobuf")
    [resource] = body.resource_spans
    told = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert told["service.name"] == "medialane-keeper"
    assert told["service.version"]
    spans = {one.name: one for scope in resource.scope_spans for one in scope.spans}
    assert spans.keys() == {"outer", "inner"}
    assert {one.trace_id for one in spans.values()} == {outer.get_span_context().trace_id.to_bytes(16, "big")}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert [(one.key, one.value.int_value) for one in spans["inner"].attributes] == [("medialane.epoch", 3)]
