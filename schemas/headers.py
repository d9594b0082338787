"""What the headers of records and deliveries mean, for whoever reads them: the published documents say it."""

from typing import Any

from schemas.records import (
    HEADER_ID,
    HEADER_SEQ,
    HEADER_SOURCE,
    HEADER_SPEC_VERSION,
    HEADER_SUBJECT,
    HEADER_TENANT,
    HEADER_TRACEPARENT,
    HEADER_TYPE,
)

HEADERS: dict[str, str] = {
    HEADER_ID: "Id of the outbox row; of an event, the event's id",
    HEADER_TYPE: "Type of the payload",
    HEADER_SUBJECT: "Id of the asset (events) or job (dispatches, dead letters)",
    HEADER_TENANT: "Id of the tenant",
    HEADER_SEQ: "Position among the asset's events; null on all else",
    HEADER_SOURCE: "Always `medialane`",
    HEADER_SPEC_VERSION: "Always `1.0`",
    HEADER_TRACEPARENT: "W3C trace context of the transaction that wrote the record",
}
"""Of a record that comes from the outbox: name to meaning."""

ERROR_HEADERS: dict[str, str] = {
    "__dlq.errors.topic": "Topic of the record; of a job that no record is known of, its route (`jobs.image`)",
    "__dlq.errors.partition": "Partition of that record; null if a job's is not known",
    "__dlq.errors.offset": "Its offset; null as above",
    "__dlq.errors.group": "Consumer group that read it; null as above",
    "__dlq.errors.delivery.count": "How often it was tried, lost workers included",
    "__dlq.errors.message": "Why, for people",
    "medialane_code": "Why: an error code",
    "medialane_attempts": "Attempts that failed",
}
"""What a job's dead letter has beside them."""

RECORD_HEADERS: dict[str, str] = ERROR_HEADERS | {
    "medialane_original_traceparent": "W3C trace context that the record came with, if it did",
    "__dlq.errors.value.dropped": "`true`: too large for the topic; without value, or without key and own headers, too",
}
"""What a record that cannot be decoded has beside its own."""

NULLABLE = frozenset(
    {HEADER_TENANT, HEADER_SEQ, HEADER_TRACEPARENT}
    | {f"__dlq.errors.{name}" for name in ("partition", "offset", "group")}
)
"""What the connector sends as null where it has no value."""

WEBHOOK_HEADERS: dict[str, str] = {
    "webhook-id": "The event's id, the same on every attempt",
    "webhook-timestamp": "When this attempt was signed, Unix seconds",
    "webhook-signature": "Standard Webhooks signatures, space separated: while a rotated secret is still in use, two",
    "X-Webhook-Signature": "`sha256=` and the hex HMAC-SHA256 of the body, with the newest secret",
    HEADER_TRACEPARENT: "W3C trace context of the attempt",
}
"""Of a delivery: name to meaning."""


def object_of(meanings: dict[str, str], nullable: frozenset[str] = NULLABLE) -> dict[str, Any]:
    """The JSON Schema of such headers."""
    return {
        "type": "object",
        "properties": {
            name: {"type": ["string", "null"] if name in nullable else "string", "description": meaning}
            for name, meaning in meanings.items()
        },
    }
