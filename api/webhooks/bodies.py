"""Bodies of deliveries that tell no fact: the examples of the OpenAPI document, and those that try an endpoint."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from api.examples.events import EVENTS
from schemas.events import Event
from schemas.ids import uuid7


def example_body(event: Event) -> dict[str, Any]:
    """The body of an event's delivery, as the webhook agent makes it."""
    data = msgspec.to_builtins(event)
    return {
        "type": event.event_type, "timestamp": data["time"], "event": event.event_type, "asset_id": data["asset_id"],
        "job_id": data.get("job_id"), "data": data,
    }  # fmt: skip


def example_event(kind: str, tenant_id: UUID) -> Event:
    """The example of a type as an event of this tenant's, of now and with an id of its own; its asset is nobody's."""
    return msgspec.structs.replace(EVENTS[kind], id=uuid7(), time=datetime.now(UTC), tenant_id=tenant_id)


def body_of_test(event: Event) -> str:
    """The body of a delivery that only tries an endpoint, as JSON text: `test` tells it from all others."""
    return msgspec.json.encode(example_body(event) | {"test": True}).decode()
