"""Where bytes go that are no dispatch: to the dead-letter topic as they came, and to a row that people can list."""

from typing import NamedTuple

import structlog

from connectors.kafka.producer import RecordProducer, RecordTooLargeError
from connectors.postgres.database import Database
from connectors.postgres.protocol.dead_letters import BadRecord, bury_record, header_text
from connectors.telemetry.messaging import header_traceparent
from connectors.telemetry.tracing import Tracing, current_traceparent
from schemas.errors import ErrorCode
from streams.faust_app import Record

log = structlog.get_logger(__name__)

_ERRORS = "__dlq.errors."  # the names that Kafka's own dead-letter queues use
_CODE = "medialane_code"
_ATTEMPTS = "medialane_attempts"
_TRACE = "medialane_original_traceparent"


class Undecodable(NamedTuple):
    """A record that says nothing we could act upon."""

    reason: str
    record: Record


class DeadLetters:
    """Writes dead letters of records that cannot be decoded; the record's offset may move when `write` returned."""

    def __init__(
        self, producer: RecordProducer, database: Database, tracing: Tracing, *, topic: str, group: str
    ) -> None:
        self._producer = producer
        self._database = database
        self._tracing = tracing
        self._topic = topic
        self._group = group

    async def write(self, bad: Undecodable) -> None:
        """Remember the record in a row, then send it to the dead-letter topic and wait for the confirmation.

        Repeats after a crash may send it twice; the row is there once, and first: a topic that does not take the record
        must not lose it. Raises `MedialaneError` if the broker or the database does not answer.
        """
        record = bad.record
        parent = header_traceparent(record.headers)
        with self._tracing.span("bury", parent_traceparent=parent):
            async with self._database.transaction() as connection:
                await bury_record(connection, _row(bad, current_traceparent()))
            await self._send(record, self._reasons(bad, parent))
        log.error("record cannot be decoded, it is a dead letter", reason=bad.reason, **record.log_names)

    async def _send(self, record: Record, reasons: list[tuple[str, bytes]]) -> None:
        own = [(_plain(name), value) for name, value in record.headers]
        dropped = (f"{_ERRORS}value.dropped", b"true")
        for key, value, headers in (
            (record.key, record.value, [*own, *reasons]),
            (record.key, None, [*own, *reasons, dropped]),
            (None, None, [*reasons, dropped]),
        ):
            try:
                await self._producer.send(self._topic, key=key, value=value, headers=headers)
            except RecordTooLargeError:
                continue
            return
        log.warning("the dead-letter topic does not take the record; its row has all of it", topic=self._topic)

    def _reasons(self, bad: Undecodable, parent: str | None) -> list[tuple[str, bytes]]:
        partition, offset = bad.record.partition, bad.record.offset
        values = {
            f"{_ERRORS}topic": partition.topic, f"{_ERRORS}partition": str(partition.partition),
            f"{_ERRORS}offset": str(offset), f"{_ERRORS}group": self._group, f"{_ERRORS}message": _plain(bad.reason),
            f"{_ERRORS}delivery.count": "1", _CODE: ErrorCode.UNDECODABLE_RECORD.value, _ATTEMPTS: "0",
        }  # fmt: skip
        if parent is not None:
            values[_TRACE] = parent
        return [(name, value.encode()) for name, value in values.items()]


def _row(bad: Undecodable, traceparent: str | None) -> BadRecord:
    record = bad.record
    return BadRecord(
        topic=record.partition.topic, partition=record.partition.partition, offset=record.offset, key=record.key,
        value=record.value, headers=[(_plain(name), header_text(value)) for name, value in record.headers],
        detail=_plain(bad.reason), traceparent=traceparent,
    )  # fmt: skip


def _plain(text: str) -> str:
    """Neither Postgres nor librdkafka takes a NUL in text; whoever wrote the record may have."""
    return text.replace("\0", "\\0")
