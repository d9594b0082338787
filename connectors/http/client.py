"""The HTTP client for receivers: one POST, its answer or why there is none, as a value. Redirects are not followed."""

import asyncio
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import aiohttp
import msgspec

from connectors.closing import Closing
from connectors.http.resolver import lookups_of_this_task
from connectors.http.session import guarded_session, is_shortage, refusal_in, why_unreachable

_KEPT = 4096
# Enough to finish reading an ordinary answer, so that its connection can be used again.
_READ_LIMIT = 65_536
# Beyond the headers: who sends a byte now and then would otherwise hold a request for the whole timeout.
_READ_S = 1.0


class Outcome(StrEnum):
    """What came of a request."""

    ANSWERED = "answered"  # `status` says how
    TIMEOUT = "timeout"  # no answer in time
    UNREACHABLE = "unreachable"  # name, connection, TLS or protocol failed
    REFUSED = "refused"  # the guard refused the address
    UNSENT = "unsent"  # for a lack of our own: nothing is known of the receiver


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one request; `body` is cut, `detail` says what went wrong, for people.

    `lingering`, if any, is done once nothing of the request is left: a lookup outlasts a request that gave up on it,
    and holds its thread as long.
    """

    outcome: Outcome
    elapsed_s: float
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    detail: str = ""
    lingering: asyncio.Future[Any] | None = None


class HttpClient(Closing):
    """Posts to receivers over connections that are kept open.

    `timeout_s` bounds one request as a whole; at most `connections` are in use, and four times as many open in all; of
    an answer's body at most 4 KiB are kept, of what comes within a second of its headers. Made and closed in the loop
    that uses it.
    """

    def __init__(self, *, timeout_s: float, connections: int, allow_private: bool = False) -> None:
        self._session = guarded_session(
            timeout_s=timeout_s, connections=connections, allow_private=allow_private, user_agent="Medialane-Webhooks/1"
        )

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `body`; never raises but for cancellation."""
        started, lookups = time.monotonic(), lookups_of_this_task()
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return Answer(
                    outcome=Outcome.ANSWERED,
                    status=response.status,
                    retry_after=response.headers.get("Retry-After"),
                    body=await self._read(response),
                    elapsed_s=time.monotonic() - started,
                )
        except TimeoutError:
            outcome, detail = Outcome.TIMEOUT, "no answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome, detail = _explain(error)
        lingering = next((lookup for lookup in lookups if not lookup.done()), None)
        return Answer(outcome=outcome, detail=detail, elapsed_s=time.monotonic() - started, lingering=lingering)

    async def close(self) -> None:
        """Close every connection; requests still open fail."""
        await self._session.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The start of the body. The status decides, so a body that is too long, slow or broken is only cut short."""
        kept, size = bytearray(), 0
        try:
            async with asyncio.timeout(_READ_S):
                async for chunk in response.content.iter_any():
                    kept += chunk[: max(0, _KEPT - len(kept))]
                    size += len(chunk)
                    if size > _READ_LIMIT:
                        response.close()
                        break
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()
        return bytes(kept)


def _explain(error: BaseException) -> tuple[Outcome, str]:
    if isinstance(error, aiohttp.InvalidURL):
        return Outcome.REFUSED, "the address cannot be read"
    refused = refusal_in(error)
    if refused is not None:
        return Outcome.REFUSED, str(refused)
    if is_shortage(error):
        return Outcome.UNSENT, "this process has too many files open"
    return Outcome.UNREACHABLE, why_unreachable(error)
