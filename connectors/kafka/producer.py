"""The one producer of ours: dead letters of records that cannot be decoded. Everything else goes through the outbox."""

import asyncio
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor

from connectors.kafka.options import client_options
from connectors.telemetry.tracing import Tracing
from schemas.errors import ErrorCode, MedialaneError
from schemas.records import HEADER_TRACEPARENT
from schemas.settings import KafkaSettings

Headers = Sequence[tuple[str, bytes | None]]


class RecordProducer:
    """Sends records one at a time and returns when every in-sync replica has them.

    Instrumented: a record carries the `traceparent` of the span that it is sent in, and no other. Connects when needed.
    """

    def __init__(self, settings: KafkaSettings, tracing: Tracing, *, timeout_s: float = 10.0) -> None:
        self._options: dict[str, str | int | float | bool] = {
            **client_options(settings),
            "client.id": "medialane-dead-letters",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "delivery.timeout.ms": int(timeout_s * 1000),
            # A record that fitted its topic must fit here with a few headers more; the broker has the last word.
            "message.max.bytes": 16_777_216,
        }
        self._timeout_s = timeout_s
        self._tracing = tracing
        self._producer: Any = None

    async def send(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers, partition: int | None = None
    ) -> None:
        """Send a record and wait until it is confirmed; without a partition its key decides.

        Raises `RecordTooLargeError`, or `MedialaneError(broker_unavailable)` when it was not confirmed in time: it may
        then be in the topic or not.
        """
        own = [(name, content) for name, content in headers if name != HEADER_TRACEPARENT]
        outcome: list[KafkaError | None] = []
        try:
            self._connected().produce(
                topic=topic, key=key, value=value, headers=own, on_delivery=lambda error, _: outcome.append(error),
                **({} if partition is None else {"partition": partition}),
            )  # fmt: skip
            await asyncio.to_thread(self._producer.flush, self._timeout_s + 1)
        except (KafkaException, BufferError) as error:
            outcome.append(error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL))  # noqa: SLF001 - its public name
        failure = outcome[0] if outcome else KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - its public name
        if failure is None:
            return
        if failure.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise RecordTooLargeError(topic)
        raise MedialaneError(ErrorCode.BROKER_UNAVAILABLE, f"The record was not confirmed: {failure.name()}")

    def _connected(self) -> Any:
        if self._producer is None:
            instrumentor = ConfluentKafkaInstrumentor()
            self._producer = instrumentor.instrument_producer(Producer(self._options), self._tracing.provider)
        return self._producer


class RecordTooLargeError(Exception):
    """The topic does not take a record of this size."""
