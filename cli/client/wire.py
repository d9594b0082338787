"""What every part of the client stands on: one session, the calls of the API by it, and signed addresses."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from cli.client.errors import StoreRefusedError
from cli.client.transport import PATIENCE_S, Answer, call, reaching

_API = "/api/v1"
STORE_FAILED = "the object store did not answer"


def given(**said: object) -> dict[str, object]:
    """Members of a body or a query, without those that were not given (None)."""
    return {name: value for name, value in said.items() if value is not None}


class Wire:
    """One API key at one address."""

    def __init__(
        self, base_url: str, api_key: str, *, session: aiohttp.ClientSession | None = None, timeout_s: float = 30.0
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._timeout_s = timeout_s
        self._session = session
        self._own = session is None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session if it is our own."""
        if self._own and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._base

    async def read(self, address: str) -> bytes:
        """The bytes at a signed address, or at one that a playlist or WebVTT names beside it."""
        with reaching(STORE_FAILED):
            async with self._open().get(URL(address, encoded=True)) as response:
                if response.status != 200:
                    raise StoreRefusedError(response.status, f"to the download of {URL(address).name}")
                return await response.read()

    @asynccontextmanager
    async def _store(
        self, method: str, address: str, content: Any, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # The address is signed as it is spelled: it must not be quoted anew.
        url = URL(address, encoded=True)
        with reaching(STORE_FAILED):
            async with self._open().request(method, url, data=content, headers=headers) as response:
                if response.status >= 300:
                    raise StoreRefusedError(response.status, (await response.text())[:300])
                yield response

    async def _call(
        self, method: str, path: str, body: object = None, *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None, headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None, timeout_s: float | None = None, patience_s: float = PATIENCE_S,
        says_where: bool = False,
    ) -> Answer:  # fmt: skip
        address, sent = self._address(path).with_query(query or {}), {**self._headers, **(headers or {})}
        return await call(
            self._open(), method, address, headers=sent, body=body, idempotency_key=idempotency_key,
            timeout_s=timeout_s, patience_s=patience_s, says_where=says_where,
        )  # fmt: skip

    def _address(self, path: str) -> URL:
        return URL(f"{self._base}{_API}{path}")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self._session
