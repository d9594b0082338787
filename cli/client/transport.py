"""One HTTP call of the API: send, read the envelope, raise the typed error. Used by the client, of no use by itself."""

import json
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec
from yarl import URL

from cli.client.errors import BadAnswerError, UnreachableError, api_error

T = TypeVar("T")


class Answer(NamedTuple):
    """A successful answer: the status, the envelope's members, and the W3C traceparent of the request.

    Uploads in parts are answered in Uppy's words, without an envelope: `body` has the whole.
    """

    status: int
    envelope: dict[str, Any]
    traceparent: str | None
    body: Any = None

    def data(self, kind: type[T]) -> T:
        """The envelope's `data` as a struct; raises `BadAnswerError` if it does not fit."""
        return self._as(self.envelope.get("data"), kind)

    def whole(self, kind: type[T]) -> T:
        """The whole answer as a struct, where there is no envelope; raises `BadAnswerError` if it does not fit."""
        return self._as(self.body, kind)

    def _as(self, found: Any, kind: type[T]) -> T:
        try:
            return msgspec.convert(found, kind, strict=False)
        except msgspec.ValidationError as error:
            raise BadAnswerError(f"the API's answer does not fit: {error}") from error


async def call(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: dict[str, str],
    body: object = None,
) -> Answer:
    """Send one request; raises `UnreachableError`, `BadAnswerError` or a kind of `ApiError`."""
    payload = msgspec.json.encode(body) if body is not None else None
    sent = headers if payload is None else {**headers, "Content-Type": "application/json"}
    try:
        async with session.request(method, url, headers=sent, data=payload) as response:
            raw = await response.read()
            trace = response.headers.get("traceparent")
            return _answer(response.status, raw, trace)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"{method} {url} got no answer: {error or type(error).__name__}") from error


def _answer(status: int, raw: bytes, traceparent: str | None) -> Answer:
    try:
        envelope = json.loads(raw) if raw else {}
    except ValueError:
        envelope = None
    if status >= 400:
        known = envelope if isinstance(envelope, dict) else {}
        message = str(known.get("message") or known.get("detail") or raw[:200].decode(errors="replace"))
        raise api_error(
            status, message, code=known.get("code"), field=known.get("field"), trace_id=trace_id(traceparent)
        )
    if not isinstance(envelope, dict | list):
        raise BadAnswerError(f"the API answered {status} with something that is no JSON: {raw[:80]!r}")
    return Answer(status, envelope if isinstance(envelope, dict) else {}, traceparent, envelope)


def trace_id(traceparent: str | None) -> str | None:
    """The trace id (32 hex digits) of a W3C traceparent, or None."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None
