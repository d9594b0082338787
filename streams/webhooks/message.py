"""What a delivery says: the event, in the shape of Standard Webhooks, with the fields that older receivers read.

Only the envelope is decoded, so that an event type newer than this release is delivered like any other.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from schemas.errors import ErrorCode, MedialaneError


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What every event carries, whatever its type."""

    type: str
    id: UUID
    time: datetime
    tenant_id: UUID
    asset_id: UUID
    seq: int
    job_id: UUID | None = None


class IncomingEvent(NamedTuple):
    """An event as it came from Kafka: its envelope, its JSON text unchanged, and the trace that it belongs to."""

    envelope: Envelope
    value: bytes
    traceparent: str | None


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    timestamp: datetime
    event: str
    asset_id: UUID
    job_id: UUID | None
    data: msgspec.Raw


class _Dated(msgspec.Struct, frozen=True):
    timestamp: datetime


_decoder = msgspec.json.Decoder(Envelope)
_dated = msgspec.json.Decoder(_Dated)
_encoder = msgspec.json.Encoder()


def read_event(value: bytes | None, traceparent: str | None) -> IncomingEvent:
    """Read a record's value; raises `MedialaneError(undecodable_record)` on what is no event."""
    try:
        return IncomingEvent(_decoder.decode(value or b""), bytes(value or b""), traceparent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MedialaneError(ErrorCode.UNDECODABLE_RECORD, f"The record is no event: {error}") from error


def body_of(event: IncomingEvent) -> bytes:
    """The body of the event's deliveries: the same bytes for every endpoint and every attempt."""
    envelope = event.envelope
    return _encoder.encode(
        _Body(
            type=envelope.type,
            timestamp=envelope.time,
            event=envelope.type,
            asset_id=envelope.asset_id,
            job_id=envelope.job_id,
            data=msgspec.Raw(event.value),
        )
    )


def age_of(body: str, now: datetime) -> float:
    """How old the event of a body that `body_of` has made is, seconds: a delivery may have waited in its row."""
    return max(0.0, (now - _dated.decode(body).timestamp).total_seconds())
