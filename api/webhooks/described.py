"""Deliveries as the OpenAPI document describes them: a webhook for each event that can be subscribed to."""

from typing import Any

from api.examples.events import EVENTS
from api.webhooks.bodies import example_body
from schemas.events import EVENT_TYPES, Event
from schemas.generate import REF, webhook_body
from schemas.headers import WEBHOOK_HEADERS


def webhooks() -> dict[str, Any]:
    """The document's `webhooks`, by event type; the events themselves are among its components."""
    return {name: {"post": _delivery(name, kind)} for name, kind in EVENT_TYPES.items()}


def _delivery(name: str, kind: type[Event]) -> dict[str, Any]:
    return {
        "operationId": f"on{''.join(word.capitalize() for word in name.split('.'))}",
        "summary": kind.doc,
        "description": "POSTed to the endpoints that are registered for it, at least once: `webhook-id` is the same on "
        "every attempt.",
        "tags": ["webhooks"],
        "parameters": [
            {"name": header, "in": "header", "description": meaning, "required": header != "traceparent",
             "schema": {"type": "string"}}
            for header, meaning in WEBHOOK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": webhook_body({name: {"$ref": REF + kind.__name__}}),
                    "example": example_body(EVENTS[name]),
                }
            },
        },
        "responses": {
            "2XX": {"description": "Taken: it is not sent again."},
            "410": {"description": "Gone: nothing is sent to this endpoint any more."},
            "default": {"description": "Sent again later, after `Retry-After` if that is longer than the next pause."},
        },
    }  # fmt: skip
