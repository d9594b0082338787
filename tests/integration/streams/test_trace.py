"""One trace through a record: instrumentation sees the producer, never Faust's consumer (faust.md L13)."""

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from support.streams import until

from connectors.kafka.producer import RecordProducer
from connectors.telemetry import current_traceparent, trace_id
from connectors.telemetry.messaging import header_traceparent
from connectors.telemetry.tracing import Tracing

pytestmark = pytest.mark.stack


@pytest.fixture
def tracing():
    made = Tracing("test")
    yield made
    made.shutdown()


async def send(bench, tracing, topic):
    """Send one record in a span of its own; returns the span's trace id."""
    with tracing.span("send"):
        await RecordProducer(bench.kafka, tracing).send(topic, key=None, value=b"r0", headers=[])
        return trace_id(current_traceparent())


async def test_a_record_hands_on_the_trace_that_it_was_sent_in(bench, tracing):
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    sent = await send(bench, tracing, topic)
    await worker.start()
    await until(lambda: worker.records, "the record arrives")
    with tracing.span("process", parent_traceparent=header_traceparent(worker.records[0].headers)):
        assert trace_id(current_traceparent()) == sent


async def test_plain_faust_handles_an_instrumented_record_outside_every_trace(bench, tracing):
    topic, group = await bench.topic(), bench.group()
    contexts = []

    def read(app):
        async def loop(stream):
            async for event in stream.noack().events():
                contexts.append(trace.get_current_span().get_span_context())
                event.ack()

        return loop

    ConfluentKafkaInstrumentor().instrument(tracer_provider=tracing.provider)
    try:
        plain = bench.plain(topic, group, read)
        await send(bench, tracing, topic)
        await plain.start()
        await until(lambda: contexts, "the record arrives")
    finally:
        ConfluentKafkaInstrumentor().uninstrument()
    assert not contexts[0].is_valid
