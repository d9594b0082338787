"""The OpenAPI document as it is published: what Litestar says of the routes, with what it cannot say.

Litestar knows routes and parameters. What a payload may hold is told by msgspec, which decodes it: Litestar's own
schemas lose the bounds of what stands inside a list, a dictionary or an optional.
"""

import copy
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute

from api.envelope import PROBLEM_TYPE, Failure, Problem
from api.examples.errors import failure, problem
from api.examples.ids import PATHS
from api.examples.payloads import ANSWERS, REQUESTS, UNREADY
from api.failures import DESCRIPTIONS
from api.idempotency import REPLAYED
from api.webhooks.described import webhooks
from schemas.events import EVENT_TYPES
from schemas.generate import REF

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})


class PublishedPlugin(JsonRenderPlugin):
    """Serves the document."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The JSON text."""
        return super().render(request, published(request.app, openapi_schema))


def published(app: Litestar, document: dict[str, Any]) -> dict[str, Any]:
    """The whole document, made of what the application says of itself; nothing that was given is changed."""
    whole: dict[str, Any] = _exact(copy.deepcopy(document))
    _, payloads = msgspec.json.schema_components(
        [*_structs(app), Failure, Problem, *EVENT_TYPES.values()], ref_template=REF + "{name}"
    )
    whole["components"]["schemas"] |= payloads
    whole["components"]["responses"] = _errors()
    whole["components"]["headers"] = _HEADERS
    for path, operation in _operations(whole):
        _complete(path, operation)
    return whole | {"webhooks": webhooks()}


def _structs(app: Litestar) -> list[type[msgspec.Struct]]:
    """Every payload of the routes, in a stable order."""
    found: dict[str, type[msgspec.Struct]] = {}
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            signature = handler.parsed_fn_signature
            annotations = [signature.return_type.annotation]
            if "data" in signature.parameters:
                annotations.append(signature.parameters["data"].annotation)
            for struct in _inside(annotations):
                found[struct.__name__] = struct
    return [found[name] for name in sorted(found)]


def _inside(annotations: Iterable[Any]) -> Iterator[type[msgspec.Struct]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            yield annotation
        yield from _inside(typing.get_args(annotation))


def _exact(node: Any) -> Any:
    """Of a tuple's endless items Litestar makes a choice of a schema and anything, which no item fits just once."""
    if isinstance(node, list):
        return [_exact(child) for child in node]
    if not isinstance(node, dict):
        return node
    clean = {name: _exact(child) for name, child in node.items()}
    choices = clean.get("oneOf")
    if isinstance(choices, list) and {} in choices:
        del clean["oneOf"]
        (only,) = [choice for choice in choices if choice]
        return clean | only
    return clean


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS & item.keys():
            yield path, item[method]


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Examples of what is asked and answered; errors are the same everywhere."""
    name = operation["operationId"]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"] in PATHS:
            parameter["example"] = PATHS[parameter["name"]]
    if "requestBody" in operation:
        for content in operation["requestBody"]["content"].values():
            content["example"] = msgspec.to_builtins(REQUESTS[name])
    once = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        if int(status) >= 400 and path.startswith(("/api/", "/media/")):
            operation["responses"][status] = {"$ref": f"#/components/responses/Error{status}"}
            continue
        response["headers"] = _named(
            *_ALWAYS, *(_PLANS if path.startswith("/api/") else ()), *([REPLAYED] if once else ()),
            *_OF_STATUS.get(status, ()),
        )  # fmt: skip
        for content in response.get("content", {}).values():
            content["example"] = msgspec.to_builtins(ANSWERS[name] if int(status) < 400 else UNREADY)


def _errors() -> dict[str, Any]:
    """The answer of each status that a refusal may have, in both shapes."""
    return {
        f"Error{status}": {
            "description": DESCRIPTIONS[status],
            "headers": _named(*_ALWAYS, *_PLANS, *_OF_STATUS.get(str(status), ())),
            "content": {
                "application/json": _content("Failure", failure(status)),
                PROBLEM_TYPE: _content("Problem", problem(status)),
            },
        }
        for status in DESCRIPTIONS
    }


def _content(schema: str, example: msgspec.Struct) -> dict[str, Any]:
    return {"schema": {"$ref": REF + schema}, "example": msgspec.to_builtins(example)}


def _named(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str, kind: str = "string", *, required: bool = False) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": kind}}


_HEADERS: dict[str, Any] = {
    "traceparent": _header("W3C trace context of the request"),
    "X-Trace-Id": _header("Id of its trace; quote it when something goes wrong"),
    "RateLimit": _header("What is left of the plan's requests, to callers whose plan has a rate"),
    "RateLimit-Policy": _header("The plan's requests, to the same"),
    "Retry-After": _header("Seconds after which to come again", "integer"),
    "WWW-Authenticate": _header("The challenge, by RFC 6750"),
    "Location": _header("Where the bytes are", required=True),
    REPLAYED: _header("`true`: the answer that a request with this `Idempotency-Key` got before"),
}
_ALWAYS = ("traceparent", "X-Trace-Id")
_PLANS = ("RateLimit", "RateLimit-Policy")
_OF_STATUS = {
    "307": ("Location",),
    "401": ("WWW-Authenticate",),
    "409": ("Retry-After",),  # of an Idempotency-Key in use
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
