"""The guarded HTTP session: whatever it dials was judged at the moment when a socket to it was made.

So neither a literal address nor a second answer of a name server gets around the guard. No cookies, no proxy from the
environment, no decompression.
"""

import asyncio
import errno
import functools
import ipaddress
import socket
from typing import Any

import aiohttp

from connectors.http.guard import AddressRefusedError, check_address
from connectors.http.resolver import OwnThreadsResolver

_CONNECT_S = 10.0
# Times as many as may be in use: with hundreds of receivers, the next request finds the connection of the last one.
_KEPT = 4


def guarded_session(
    *, timeout_s: float, connections: int, allow_private: bool, user_agent: str
) -> aiohttp.ClientSession:
    """A session that only reaches public addresses, or private ones, too; `timeout_s` bounds each request.

    At most `connections` are in use at once, and four times as many open in all.
    """
    connector = _Connector(
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


class _Connector(aiohttp.TCPConnector):
    """Bounds the connections that wait for another request, too, and closes its resolver: aiohttp, pinned in
    pyproject.toml, counts only those in use, and closes only a resolver of its own.
    """

    async def _create_connection(self, *args: Any) -> Any:
        # The one place where they become more, this one counted already; all else only moves them between the two.
        while self._conns and len(self._acquired) + sum(map(len, self._conns.values())) > _KEPT * self.limit:
            self._close_oldest()
            await asyncio.sleep(0)  # its socket is closed in the loop's next turn, and only then may another be opened
        return await super()._create_connection(*args)

    def _close_oldest(self) -> None:
        key = min(self._conns, key=lambda key: self._conns[key][0][1])
        protocol, _since = self._conns[key].popleft()
        if not self._conns[key]:
            del self._conns[key]
        protocol.abort()  # nothing is under way; a farewell of TLS would wait for the other side

    async def close(self, *, abort_ssl: bool = False) -> None:
        await super().close(abort_ssl=abort_ssl)
        await self._resolver.close()


def refusal_in(error: BaseException) -> AddressRefusedError | None:
    """The guard's refusal, if it is what a request failed for."""
    cause = getattr(error, "os_error", error)
    return cause if isinstance(cause, AddressRefusedError) else None


def is_shortage(error: BaseException) -> bool:
    """Whether a request failed since this process or machine has no descriptor left: nothing was sent."""
    return getattr(getattr(error, "os_error", error), "errno", None) in {errno.EMFILE, errno.ENFILE}


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
