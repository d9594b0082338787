"""One HTTP call of the API: send, read the envelope, raise the typed error. Used by the client, of no use by itself."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import aiohttp
import msgspec
from yarl import URL

from cli.client.errors import ApiError, BadAnswerError, UnreachableError, api_error

T = TypeVar("T")

_LATER = (429, 503)
_TRIES = 10
PATIENCE_S = 60.0

_IN_USE, _IN_USE_S, _LONGEST_IN_USE_S = "idempotency_key_in_use", 1.0, 5.0
_HELD_S = 130.0
"""Longer than a key is in use by a request that nobody works on any more: the API lets it go after two minutes."""


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
    idempotency_key: str | None = None,
    timeout_s: float | None = None,
    patience_s: float = PATIENCE_S,
    says_where: bool = False,
) -> Answer:
    """Send a request, and again while patience lasts, ten times at most, if the answer (429, 503) says when.

    Each POST has an `Idempotency-Key`, the caller's or one of its own, the same over its repeats: what was done and
    answered 503 is not done twice. While the try before still holds that key (409), it is waited for, patience or not:
    until then nobody can say what became of it.

    `timeout_s` is for each try; None: the session's.

    A redirect is an answer where one is expected (`says_where`), and none of the API's elsewhere.

    Raises `UnreachableError`, `BadAnswerError` or a kind of `ApiError`.
    """
    payload = msgspec.json.encode(body) if body is not None else None
    sent = headers if payload is None else {**headers, "Content-Type": "application/json"}
    if method == "POST":
        sent = {**sent, "Idempotency-Key": str(uuid4()) if idempotency_key is None else idempotency_key}
    patience = _Patience(patience_s)
    while True:
        try:
            return _answer(*await _send(session, method, url, sent, payload, timeout_s), says_where=says_where)
        except ApiError as error:
            pause_s = patience.pause_s(error)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)


class _Patience:
    """Whether and when a call is sent again."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._tries = self._in_use = 0

    def pause_s(self, error: ApiError) -> float | None:
        """Seconds until the next try; None: there is none."""
        # Who was refused together was told the same moment, and comes later at different ones.
        spread = random.random()  # noqa: S311 - no secret
        if error.code == _IN_USE:  # by a try of the same request, before this one, that was not given up yet
            if self._in_use == 0:
                self._ends_at = max(self._ends_at, time.monotonic() + _HELD_S)
            self._in_use += 1
            pause_s = min(_IN_USE_S * (self._in_use + spread), _LONGEST_IN_USE_S)
        else:
            self._tries += 1
            if error.status not in _LATER or error.retry_after_s is None or self._tries == _TRIES:
                return None
            pause_s = error.retry_after_s * (self._tries + spread)
        return pause_s if time.monotonic() + pause_s <= self._ends_at else None


async def _send(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    headers: dict[str, str],
    payload: bytes | None,
    timeout_s: float | None,
) -> tuple[int, bytes, Mapping[str, str]]:
    timeout = session.timeout if timeout_s is None else aiohttp.ClientTimeout(total=timeout_s)
    # A redirect's body says where to as well, and what is there may be large.
    with reaching(f"{method} {url} got no answer"):
        async with session.request(
            method, url, headers=headers, data=payload, timeout=timeout, allow_redirects=False
        ) as response:
            return response.status, await response.read(), response.headers


@contextmanager
def reaching(failed: str) -> Iterator[None]:
    """Make whatever keeps an answer from coming one `UnreachableError`, which says what failed, and why."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"{failed}: {str(error) or type(error).__name__}") from error


def _answer(status: int, raw: bytes, headers: Mapping[str, str], *, says_where: bool) -> Answer:
    if status >= 400:
        raise refusal(status, raw, headers)
    if status >= 300 and not says_where:
        raise BadAnswerError(f"the API answered {status}, to {headers.get('Location', 'nowhere')}")
    body = _json(raw) if raw else {}
    if not isinstance(body, dict | list):
        raise BadAnswerError(f"the API answered {status} with something that is no JSON: {raw[:80]!r}")
    return Answer(status, body if isinstance(body, dict) else {}, headers.get("traceparent"), body)


def refusal(status: int, raw: bytes, headers: Mapping[str, str]) -> ApiError:
    """The exception for an answer that is an error, with what its body and headers say."""
    envelope = _json(raw)
    known = envelope if isinstance(envelope, dict) else {}
    message = str(known.get("message") or known.get("detail") or raw[:200].decode(errors="replace"))
    return api_error(
        status,
        message,
        code=known.get("code"),
        field=known.get("field"),
        trace_id=trace_id(headers.get("traceparent")),
        retry_after_s=_seconds(headers.get("Retry-After", "")),
    )


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _seconds(retry_after: str) -> float | None:
    # The other form, a date, is of no API of this wire.
    return float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else None


def trace_id(traceparent: str | None) -> str | None:
    """The trace id (32 hex digits) of a W3C traceparent, or None."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None
