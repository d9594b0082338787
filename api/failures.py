"""The one map from errors to HTTP answers. Whatever is not in it is a defect: logged with its trace, told as such."""

import math
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from litestar import MediaType, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.serialization import decode_json

from api.choices import with_choices
from api.envelope import PROBLEM_TYPE, Failure, Problem
from api.headers import bearer_of
from api.own_address import MEDIA_PREFIX
from schemas.errors import ERRORS, ErrorCode, MedialaneError
from schemas.patterns import readable

_log = structlog.get_logger(__name__)

_RETRY_AFTER_S = "1"
_CHALLENGE = 'Bearer realm="medialane"'
_NO_BODY = "'data'"  # Litestar's words
_LACKS = re.compile(r"Missing required (\w+) parameter '([^']+)'")  # these, too
PUBLIC_NAMES = {  # of parameters, where Python's differ
    "in_state": "state",
    "kind": "type",
    "created_from": "createdFrom",
    "created_to": "createdTo",
    "part_numbers": "partNumbers",
    "event_type": "eventType",
    "asset_id": "assetId",
    "idempotency_key": "Idempotency-Key",
    "last_event_id": "Last-Event-ID",
}
_MISSING = re.compile(r"missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")

_BY_STATUS: dict[int, tuple[ErrorCode, str]] = {
    401: (ErrorCode.UNAUTHENTICATED, "Send an API key: `Authorization: Bearer mp_...`."),
    404: (ErrorCode.NOT_FOUND, "There is nothing at this address."),
    405: (ErrorCode.INVALID_REQUEST, "This method is not possible here."),
    413: (ErrorCode.INVALID_REQUEST, "The request's body is too large."),
}


class _Refusal(NamedTuple):
    status: int
    body: Failure
    headers: Mapping[str, str] = {}


def answer(request: Request[Any, Any, State], error: Exception) -> Response[Failure] | Response[Problem]:
    """Litestar exception handler for everything.

    The shape is the reference system's, or RFC 9457's for a client that accepts `application/problem+json`.
    """
    found = _judge(request, error)
    headers = _of_status(request, found.status) | dict(found.headers)
    if PROBLEM_TYPE not in request.headers.get("accept", ""):
        return Response(found.body, status_code=found.status, headers=headers, media_type=MediaType.JSON)
    problem = Problem(
        type=f"urn:medialane:error:{found.body.code.value}",
        title=ERRORS[found.body.code].meaning,
        status=found.status,
        detail=found.body.message,
        instance=request.url.path,
        code=found.body.code,
        field=found.body.field,
    )
    return Response(problem, status_code=found.status, headers=headers, media_type=PROBLEM_TYPE)


def _of_status(request: Request[Any, Any, State], status: int) -> dict[str, str]:
    if status == 503:
        return {"Retry-After": _RETRY_AFTER_S}
    if status == 408:
        return {"Connection": "close"}  # the rest of the body may still come
    if status == 401:
        was_given = bearer_of(request.headers.get("authorization")) != ""
        return {"WWW-Authenticate": _CHALLENGE + (', error="invalid_token"' if was_given else "")}
    return {}


def _judge(request: Request[Any, Any, State], error: Exception) -> _Refusal:
    if isinstance(error, MedialaneError):
        return _known(request, error)
    if isinstance(error, ValidationException):
        return _malformed(request, error)
    if isinstance(error, RecursionError) and _is_of_the_body(error):
        return _refusal(400, ErrorCode.INVALID_REQUEST, "The request's body is nested too deeply.")
    if isinstance(error, UnicodeDecodeError) and _is_of_the_body(error):
        return _refusal(400, ErrorCode.INVALID_REQUEST, "The request's body is not UTF-8, as JSON has to be.")
    if isinstance(error, HTTPException) and error.status_code < 500:
        code, message = _BY_STATUS.get(error.status_code, (ErrorCode.INVALID_REQUEST, error.detail))
        return _refusal(error.status_code, code, message)._replace(headers=_kept(error.headers))
    _log.error("request crashed", path=_logged(request), exc_info=error)
    return _refusal(500, ErrorCode.INTERNAL, ERRORS[ErrorCode.INTERNAL].meaning)


def _known(request: Request[Any, Any, State], error: MedialaneError) -> _Refusal:
    message, field = error.detail, error.field
    if error.status >= 500:
        # Its detail is for operators: it may name parts that callers have no business with.
        _log.warning("request failed", code=error.code, detail=error.detail, path=_logged(request))
        message, field = ERRORS[error.code].meaning, None
    again_s = error.retry_after_s
    headers = {} if again_s is None else {"Retry-After": str(max(1, math.ceil(again_s)))}
    return _refusal(error.status, error.code, message, field)._replace(headers=headers)


def _is_of_the_body(error: Exception) -> bool:
    """Whether it was raised by decoding: anybody else's would be a defect."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is decode_json.__code__


def _logged(request: Request[Any, Any, State]) -> str:
    """The path, but for signed ones: whoever reads a log may not read what they open."""
    path = request.url.path
    return str(request.scope.get("path_template")) if path.startswith(f"{MEDIA_PREFIX}/") else path


def _refusal(status: int, code: ErrorCode, message: str, field: str | None = None) -> _Refusal:
    return _Refusal(status, Failure(status="error", message=message, code=code, field=field))


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """What a handler's OpenAPI entry says about errors."""
    slow = (408,) if 413 in statuses else ()  # whatever takes a body waits for it, and not for ever
    return {
        status: ResponseSpec(Failure, description=DESCRIPTIONS[status], generate_examples=False)
        for status in (*statuses, *slow, 500, 503)
    }


DESCRIPTIONS = {
    400: "The request is malformed; `field` names the culprit.",
    401: "The API key is missing, unknown, revoked or expired.",
    403: "The API key may not do this, a limit of the tenant is reached, or the signed address is not good (any more).",
    404: "There is no such thing for this tenant.",
    406: "The picture is in none of the formats that `Accept` allows.",
    408: "The request's body did not arrive in time.",
    409: "The request does not fit the present state.",
    413: "The request's body is too large.",
    416: "None of the bytes is in the range that was asked for.",
    422: "Understood and refused.",
    429: "More at a time than the tenant's plan or its share of a process; come again after `Retry-After` seconds.",
    500: "Something went wrong on our side.",
    503: "A part of the service does not answer; come again after `Retry-After` seconds.",
}


def _malformed(request: Request[Any, Any, State], error: ValidationException) -> _Refusal:
    details: Sequence[Any] = error.extra if isinstance(error.extra, list) else []
    first = next((detail for detail in details if isinstance(detail, dict)), {})
    if not first and (lacks := _LACKS.search(error.detail)) is not None:
        first = {"message": f"This {lacks[1]} parameter is required", "key": lacks[2]}
    message = readable(str(first.get("message") or "The request cannot be read."))
    key = str(first.get("key", ""))
    taken = request.route_handler.parsed_fn_signature.parameters
    if (parameter := taken.get(key) or taken.get("data")) is not None:
        message = with_choices(message, parameter.annotation, "" if key in taken else key.removeprefix("data"))
    if message == _NO_BODY:
        message = "The request has no body."
    named = _MISSING.search(message) or _UNKNOWN.search(message)
    within = key.removeprefix("data")
    place = f"{within}.{named[1]}".removeprefix(".") if named else within
    field = PUBLIC_NAMES.get(place, place) or None
    return _refusal(400, ErrorCode.INVALID_REQUEST, f"{field}: {message}" if field else message, field)


def _kept(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if name.lower() == "allow"}
