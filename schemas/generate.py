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

from schemas.errors import ErrorCode
from schemas.events import EVENT_TYPES, Event
from schemas.headers import ERROR_HEADERS, HEADERS, RECORD_HEADERS, WEBHOOK_HEADERS, object_of
from schemas.records import DEAD_LETTER_TYPE, DISPATCH_TYPE, DeadLetter, Dispatch
from schemas.topics import CANARY, DEAD_LETTERS, EVENTS, IMAGE_JOBS, TOPICS, VIDEO_JOBS, Topic

FOLDER = Path(__file__).parent / "generated"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

REF = "#/components/schemas/"
"""Where OpenAPI and AsyncAPI documents keep their schemas."""


def payloads() -> dict[str, type[msgspec.Struct]]:
    """Every payload by its published name."""
    return {**EVENT_TYPES, DISPATCH_TYPE: Dispatch, DEAD_LETTER_TYPE: DeadLetter}


def json_schema(payload: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one payload."""
    schema = msgspec.json.schema(payload)
    return {"$schema": _DIALECT, **schema, "title": title}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: what may be read from Kafka, and what webhooks bring."""
    (*refs, _), components = msgspec.json.schema_components([*payloads().values(), Event], ref_template=REF + "{name}")
    schemas = dict(zip(payloads(), refs, strict=True))
    later = _later(components.pop(Event.__name__))
    body = webhook_body({name: schemas[name] for name in EVENT_TYPES}, later={"$ref": f"{REF}LaterEvent"})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Medialane",
            "version": "1",
            "description": "Events of assets, jobs and variants, in Kafka and as webhooks. Change is additive only: "
            "new types, new fields, and new values of stage, kind, state and code may come. Enumerations are this "
            "release's; readers must ignore what they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {
            **{topic.route: _channel(topic) for topic in TOPICS if not topic.internal},
            "webhooks": _webhook_channel(),
        },
        "operations": _operations(),
        "components": {
            "schemas": {**components, "LaterEvent": later, "WebhookBody": body},
            "messages": {
                **{name: _message(name, schemas[name], _of_record(name)) | _key(_KEYS[name]) for name in payloads()},
                _UNDECODABLE: _undecodable(),
                "webhook": _message("webhook", {"$ref": f"{REF}WebhookBody"}, object_of(WEBHOOK_HEADERS, frozenset())),
            },
        },
    }


def webhook_body(data: Mapping[str, dict[str, Any]], *, later: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON Schema of a delivery's body.

    `data`: event type to the schema of its event; `later`: the schema of those whose type is none of them, if such
    bodies are allowed.
    """
    types = {"enum": list(data)} if later is None else {"type": "string"}
    events = [*data.values()] if later is None else [*data.values(), later]
    return {
        "type": "object",
        "description": "A delivery's body: Standard Webhooks' type, timestamp and data, and an older system's fields.",
        "required": ["type", "timestamp", "event", "asset_id", "job_id", "data"],
        "properties": {
            "type": types,
            "timestamp": {"type": "string", "format": "date-time"},
            "event": types,
            "asset_id": {"type": "string", "format": "uuid"},
            "job_id": {"type": ["string", "null"], "format": "uuid"},
            "data": {"oneOf": events} if len(events) > 1 else events[0],
            "test": {"const": True, "description": "Only of deliveries that were asked for to try an endpoint"},
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


_UNDECODABLE = "record.undecodable"
_KEYS = {
    **dict.fromkeys(EVENT_TYPES, "Id of the asset"),
    **dict.fromkeys((DISPATCH_TYPE, DEAD_LETTER_TYPE), "Id of the tenant"),
}
_CARRIED: dict[str, tuple[str, ...]] = {
    EVENTS.route: tuple(EVENT_TYPES),
    IMAGE_JOBS.route: (DISPATCH_TYPE,),
    VIDEO_JOBS.route: (DISPATCH_TYPE,),
    DEAD_LETTERS.route: (DEAD_LETTER_TYPE, _UNDECODABLE),
    CANARY.route: (),
}

_NOTES: dict[str, str] = {
    EVENTS.route: "The topic holds every tenant's: it is for services that may see them all. An asset's events are in "
    "one partition, in order; which one is its tenant's placement, not a hash of the key. Records come at least once: "
    "repeats have the same `ce_id`, and after a lost replication slot go back as far as the outbox is kept (a day), "
    "with older `ce_seq`s. Drop them by `ce_id`, or by `ce_seq` per asset; read with `isolation.level=read_committed` "
    "where Connect sends exactly once. Variants are named by `object_key`; signed addresses come from "
    "`GET /api/v1/assets/{id}`.",
    DEAD_LETTERS.route: f"The last header `medialane_code` tells the two kinds apart: `{ErrorCode.UNDECODABLE_RECORD}` "
    "is a record as it came, all else a job. Both may come more than once.",
}


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name(),
        "description": ". ".join(filter(None, (topic.description, _NOTES.get(topic.route)))),
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


def _message(name: str, payload: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    kind = payloads().get(name)
    summary = kind.doc if kind is not None and issubclass(kind, Event) else ((kind and kind.__doc__) or "A delivery")
    return {
        "name": name,
        "summary": summary.strip().splitlines()[0],
        "headers": headers,
        "payload": payload,
    }


def _of_record(name: str) -> dict[str, Any]:
    return object_of(HEADERS | (ERROR_HEADERS if name == DEAD_LETTER_TYPE else {}))


def _undecodable() -> dict[str, Any]:
    return {
        "name": _UNDECODABLE,
        "summary": "A record that cannot be decoded, as it came, with its own headers and these after them.",
        "contentType": "application/octet-stream",
        "headers": object_of(RECORD_HEADERS),
        "payload": {"description": "Any bytes, or null"},
        "bindings": {"kafka": {"key": {"description": "The record's own: any bytes, or null"}}},
    }


def _key(meaning: str) -> dict[str, Any]:
    return {"bindings": {"kafka": {"key": {"type": "string", "format": "uuid", "description": meaning}}}}


def _later(event: dict[str, Any]) -> dict[str, Any]:
    """The schema of events that this release does not know, of what all of them carry."""
    strange = {"type": "string", "not": {"enum": list(EVENT_TYPES)}}
    told = {"title": "LaterEvent", "description": "An event of a type that came later: a receiver answers 2xx to it."}
    return {**event, **told, "properties": {**event["properties"], "type": strange}}


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
