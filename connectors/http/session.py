"""The guarded HTTP session: whatever it dials was judged at the moment when a socket to it was made.

So neither a literal address nor a second answer of a name server gets around the guard. No cookies, no proxy from the
environment, no decompression.
"""

import functools
import ipaddress
import socket
from typing import Any

import aiohttp

from connectors.http.guard import AddressRefusedError, check_address
from connectors.http.resolver import OwnThreadsResolver

_CONNECT_S = 10.0


def guarded_session(
    *, timeout_s: float, connections: int, allow_private: bool, user_agent: str
) -> aiohttp.ClientSession:
    """A session that only reaches public addresses, or private ones, too; `timeout_s` bounds each request."""
    connector = aiohttp.TCPConnector(
        limit=connections,
        resolver=OwnThreadsResolver(connections),
        socket_factory=functools.partial(_guarded_socket, allow_private),
        keepalive_timeout=30,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, _CONNECT_S)),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding"),
        headers={"User-Agent": user_agent},
    )


def refusal_in(error: BaseException) -> AddressRefusedError | None:
    """The guard's refusal, if it is what a request failed for."""
    cause = getattr(error, "os_error", error)
    return cause if isinstance(cause, AddressRefusedError) else None


def why_unreachable(error: BaseException) -> str:
    """Why a request failed, for the tenant who chose the address: nothing of what was dialled."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name has no address"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"TLS failed: {getattr(error, 'os_error', error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # With several addresses the errors arrive as one text; a plain sentence tells nothing of what was dialled.
        return "no connection could be made"
    return f"the connection broke ({type(error).__name__})"


def _guarded_socket(allow_private: bool, info: tuple[Any, ...]) -> socket.socket:
    family, kind, proto, _name, address = info
    check_address(ipaddress.ip_address(str(address[0]).partition("%")[0]), allow_private=allow_private)
    return socket.socket(family, kind, proto)
