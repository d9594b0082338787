"""The HTTP client for receivers: one POST, its answer or why there is none, as a value.

The guard judges each address at the moment a socket to it is made, so neither a literal address nor a second answer of
a name server gets around it. No redirects, no cookies, no proxy from the environment, no decompression.
"""

import ipaddress
import socket
import time
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from connectors.http.guard import AddressRefusedError, check_address
from connectors.http.resolver import OwnThreadsResolver

# Enough to finish reading an ordinary answer, so that its connection can be used again.
_READ_LIMIT = 65_536


class Outcome(StrEnum):
    """What came of a request."""

    ANSWERED = "answered"  # `status` says how
    TIMEOUT = "timeout"  # no answer in time
    UNREACHABLE = "unreachable"  # name, connection, TLS or protocol failed
    REFUSED = "refused"  # the guard refused the address


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one request; `body` is cut, `detail` says what went wrong, for people."""

    outcome: Outcome
    elapsed_s: float
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    detail: str = ""


class HttpClient:
    """Posts to receivers over connections that are kept open.

    `timeout_s` bounds one request as a whole; `connections` are kept at most, in all; of an answer's body at most
    `body_limit` bytes are kept. Made and closed in the loop that uses it.
    """

    def __init__(
        self, *, timeout_s: float, connections: int, allow_private: bool = False, body_limit: int = 4096
    ) -> None:
        self._allow_private = allow_private
        self._body_limit = body_limit
        connector = aiohttp.TCPConnector(
            limit=connections,
            resolver=OwnThreadsResolver(connections),
            socket_factory=self._guarded_socket,
            keepalive_timeout=30,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 10)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding"),
            headers={"User-Agent": "Medialane-Webhooks/1"},
        )

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `body`; never raises but for cancellation."""
        started = time.monotonic()
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
        return Answer(outcome=outcome, detail=detail, elapsed_s=time.monotonic() - started)

    async def close(self) -> None:
        """Close every connection; requests still open fail."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The start of the body. The status decides, so a body that is too long, slow or broken is only cut short."""
        kept, size = bytearray(), 0
        try:
            async for chunk in response.content.iter_any():
                kept += chunk[: max(0, self._body_limit - len(kept))]
                size += len(chunk)
                if size > _READ_LIMIT:
                    response.close()
                    break
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()
        return bytes(kept)

    def _guarded_socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, proto, _name, address = info
        check_address(ipaddress.ip_address(str(address[0]).partition("%")[0]), allow_private=self._allow_private)
        return socket.socket(family, kind, proto)


def _explain(error: BaseException) -> tuple[Outcome, str]:
    if isinstance(error, aiohttp.InvalidURL):
        return Outcome.REFUSED, "the address cannot be read"
    cause = getattr(error, "os_error", error)
    if isinstance(cause, AddressRefusedError):
        return Outcome.REFUSED, str(cause)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Outcome.UNREACHABLE, "the name has no address"
    if isinstance(error, aiohttp.ClientSSLError):
        return Outcome.UNREACHABLE, f"TLS failed: {cause}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # With several addresses the errors arrive as one text; a plain sentence tells nothing of what was dialled.
        return Outcome.UNREACHABLE, "no connection could be made"
    return Outcome.UNREACHABLE, f"the connection broke ({type(error).__name__})"
