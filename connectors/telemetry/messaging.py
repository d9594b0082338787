"""OpenTelemetry's messaging conventions, held here alone: what spans about Kafka records are called and carry."""

from collections.abc import Iterable

from schemas.records import HEADER_TRACEPARENT

Headers = Iterable[tuple[str, bytes | None]]


def process_span_name(topic: str) -> str:
    """Name of the span around the handling of one record."""
    return f"process {topic}"


def process_attributes(
    *, topic: str, partition: int, offset: int, group: str, message_id: str | None = None
) -> dict[str, str | int]:
    """Attributes of the span around the handling of one record."""
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
        "messaging.consumer.group.name": group,
    }
    if message_id is not None:
        attributes["messaging.message.id"] = message_id
    return attributes


def header_text(headers: Headers | None, name: str) -> str | None:
    """The last header of that name as text; None if there is none or it is no UTF-8."""
    found: bytes | None = None
    for key, value in headers or ():
        if key == name:
            found = value
    if found is None:
        return None
    try:
        return bytes(found).decode()
    except UnicodeDecodeError:
        return None


def header_traceparent(headers: Headers | None) -> str | None:
    """The `traceparent` that the record carries."""
    return header_text(headers, HEADER_TRACEPARENT)
