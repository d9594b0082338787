"""Requests that move next to nothing, made in the event loop itself.

Handed to a thread they cost twice as much, and beside a busy loop each of its steps waits for the interpreter's lock.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from yarl import URL

from connectors.http.resolver import OwnThreadsResolver
from connectors.objectstore.clients import Patience
from schemas.settings import ObjectStoreSettings

_LOOKUPS = 2  # of one name, and aiohttp asks for it once at a time


class Answer(NamedTuple):
    """What the store said; the names of headers in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asker:
    """Connections for such requests, for one event loop. Close it when done; its users bound how many run at once."""

    def __init__(self, settings: ObjectStoreSettings, patience: Patience) -> None:
        self._patience = patience
        self._timeout = aiohttp.ClientTimeout(connect=patience.connect_s, sock_read=patience.read_s)
        self._ssl = ssl.create_default_context(cafile=settings.tls_ca_file) if settings.tls_ca_file else True
        self._connections = settings.connections
        self._resolver = OwnThreadsResolver(_LOOKUPS)
        self._opened: aiohttp.ClientSession | None = None

    async def ask(self, method: str, url: str, headers: Mapping[str, str], *, most: int = 0) -> Answer:
        """The answer, with the first `most` bytes of its body. What has no effect, or the same twice, may be asked.

        Raises what aiohttp does, and `TimeoutError`.
        """
        for attempt in range(1, self._patience.attempts + 1):
            last = attempt == self._patience.attempts
            try:
                answer = await self._once(method, url, headers, most)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
                if last:
                    raise
            else:
                if last or not self._patience.again(answer.status):
                    return answer
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, url: str, headers: Mapping[str, str], most: int) -> Answer:
        asked = self._session().request(
            method, URL(url, encoded=True), headers=headers, allow_redirects=False, timeout=self._timeout
        )
        # What is beyond `most` is never fetched: the connection goes with it.
        async with asked as found:
            try:
                body = await found.content.readexactly(most)
            except asyncio.IncompleteReadError as short:
                body = short.partial
            return Answer(found.status, found.headers, body)

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:  # it belongs to the loop that runs now
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    resolver=self._resolver,
                    ssl=self._ssl,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding"),
            )
        return self._opened

    async def close(self) -> None:
        """Drop the connections."""
        if self._opened is not None:
            await self._opened.close()
        await self._resolver.close()
