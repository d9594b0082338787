"""The published contracts, made from the code: JSON Schema for every payload, AsyncAPI for topics and webhooks.

    python -m schemas.generate [--check] [FOLDER]      # FOLDER: schemas/generated

The files are committed, so that a change of the wire shows in review; `--check` fails when they are out of date.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import EVENT_TYPES, Event
from schemas.records import (
    HEADER_ID,
    HEADER_SEQ,
    HEADER_SOURCE,
    HEADER_SPEC_VERSION,
    HEADER_SUBJECT,
    HEADER_TENANT,
    HEADER_TRACEPARENT,
    HEADER_TYPE,
    DeadLetter,
    Dispatch,
)
from schemas.topics import CANARY, DEAD_LETTERS, EVENTS, IMAGE_JOBS, TOPICS, VIDEO_JOBS, Topic

FOLDER = Path(__file__).parent / "generated"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_HEADERS: dict[str, str] = {
    HEADER_ID: "Id of the outbox row; of an event, the event's id",
    HEADER_TYPE: "Type of the payload",
    HEADER_SUBJECT: "Id of the asset (events) or job (dispatches, dead letters)",
    HEADER_TENANT: "Id of the tenant",
    HEADER_SEQ: "Position among the asset's events; only on events",
    HEADER_SOURCE: "Always `medialane`",
    HEADER_SPEC_VERSION: "Always `1.0`",
    HEADER_TRACEPARENT: "W3C trace context of the transaction that wrote the record",
}
WEBHOOK_HEADERS: dict[str, str] = {
    "webhook-id": "The event's id, the same on every attempt",
    "webhook-timestamp": "When this attempt was signed, Unix seconds",
    "webhook-signature": "Standard Webhooks signatures, space separated",
    "X-Webhook-Signature": "`sha256=` and the hex HMAC-SHA256 of the body",
    HEADER_TRACEPARENT: "W3C trace context of the attempt",
}
"""Of a delivery: name to meaning."""


REF = "#/components/schemas/"
"""Where OpenAPI and AsyncAPI documents keep their schemas."""


def payloads() -> dict[str, type[msgspec.Struct]]:
    """Every payload by its published name."""
    return {**EVENT_TYPES, "job.dispatch": Dispatch, "job.dead": DeadLetter}


def json_schema(payload: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one payload."""
    schema = msgspec.json.schema(payload)
    return {"$schema": _DIALECT, **schema, "title": title}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: what may be read from Kafka, and what webhooks bring."""
    (refs, components) = msgspec.json.schema_components(list(payloads().values()), ref_template=REF + "{name}")
    schemas = dict(zip(payloads(), refs, strict=True))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Medialane",
            "version": "1",
            "description": "Events of assets, jobs and variants, in Kafka and as webhooks. Change is additive only: "
            "readers must ignore what they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {
            **{topic.route: _channel(topic) for topic in TOPICS if not topic.internal},
            "webhooks": _webhook_channel(),
        },
        "operations": _operations(),
        "components": {
            "schemas": {**components, "WebhookBody": webhook_body({name: schemas[name] for name in EVENT_TYPES})},
            "messages": {
                **{name: _message(name, schemas[name]) for name in payloads()},
                "webhook": _message("webhook", {"$ref": f"{REF}WebhookBody"}, WEBHOOK_HEADERS),
            },
        },
    }


def webhook_body(data: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of a delivery's body; `data`: event type to the schema of its event."""
    names = list(data)
    return {
        "type": "object",
        "description": "A delivery's body: Standard Webhooks' type, timestamp and data, and an older system's fields.",
        "required": ["type", "timestamp", "event", "asset_id", "job_id", "data"],
        "properties": {
            "type": {"enum": names},
            "timestamp": {"type": "string", "format": "date-time"},
            "event": {"enum": names},
            "asset_id": {"type": "string", "format": "uuid"},
            "job_id": {"type": ["string", "null"], "format": "uuid"},
            "data": {"oneOf": list(data.values())} if len(data) > 1 else next(iter(data.values())),
        },
    }


def documents() -> dict[str, str]:
    """File name to content, of everything that is published from this package."""
    made = {f"{name}.schema.json": json_schema(payload, name) for name, payload in payloads().items()}
    return {name: _text(document) for name, document in {**made, "asyncapi.json": asyncapi()}.items()}


def outdated(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Names of files in `folder` that are missing or differ."""
    return [
        name
        for name, content in wanted.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != content
    ]


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in wanted.items():
        (folder / name).write_text(content, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Entry of `python -m schemas.generate`; returns the exit code."""
    folders = [argument for argument in arguments if argument != "--check"]
    folder = Path(folders[0]) if folders else FOLDER
    if "--check" not in arguments:
        write(folder, documents())
        return 0
    stale = outdated(folder, documents())
    for name in stale:
        print(f"{folder / name} is out of date: run `python -m schemas.generate`", file=sys.stderr)  # noqa: T201
    return 1 if stale else 0


_CARRIED: dict[str, tuple[str, ...]] = {
    EVENTS.route: tuple(EVENT_TYPES),
    IMAGE_JOBS.route: ("job.dispatch",),
    VIDEO_JOBS.route: ("job.dispatch",),
    DEAD_LETTERS.route: ("job.dead",),
    CANARY.route: (),
}


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name(),
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _CARRIED[topic.route]},
        "bindings": {"kafka": {"partitions": topic.partitions}},
    }


def _webhook_channel() -> dict[str, Any]:
    return {
        "address": None,
        "description": "POSTed to the endpoints that subscribe to the event's type.",
        "messages": {"webhook": {"$ref": "#/components/messages/webhook"}},
    }


def _operations() -> dict[str, Any]:
    # From a reader's side: these are what one may receive.
    names = {EVENTS.route: "readEvents", DEAD_LETTERS.route: "readDeadLetters", "webhooks": "receiveWebhook"}
    return {
        name: {"action": "receive", "channel": {"$ref": f"#/channels/{channel}"}} for channel, name in names.items()
    }


def _message(name: str, payload: dict[str, Any], headers: Mapping[str, str] = _HEADERS) -> dict[str, Any]:
    kind = payloads().get(name)
    summary = kind.doc if kind is not None and issubclass(kind, Event) else ((kind and kind.__doc__) or "A delivery")
    return {
        "name": name,
        "summary": summary.strip().splitlines()[0],
        "headers": {
            "type": "object",
            "properties": {header: {"type": "string", "description": text} for header, text in headers.items()},
        },
        "payload": payload,
    }


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
