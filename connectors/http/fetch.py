"""Fetching a file from an address that a stranger chose: guarded like webhooks, at every redirect again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from yarl import URL

from connectors.closing import Closing
from connectors.http.guard import judge_url
from connectors.http.session import guarded_session, refusal_in, why_unreachable
from schemas.errors import ErrorCode, MedialaneError

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 18

Sink = Callable[[bytes], Awaitable[None]]


class Declared(NamedTuple):
    """What a file's server says before its bytes.

    `content_type` is without parameters, in lower case, "" if none is said; `size` in bytes, None if it is not said.
    """

    content_type: str
    size: int | None


class Fetcher(Closing):
    """Fetches files. `timeout_s` bounds each request as a whole. Made and closed in the loop that uses it."""

    def __init__(self, *, timeout_s: float, connections: int, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._session = guarded_session(
            timeout_s=timeout_s, connections=connections, allow_private=allow_private, user_agent="Medialane-Pull/1"
        )

    async def fetch(
        self, url: str, sink: Sink, *, begin: Callable[[Declared], Awaitable[None]], max_bytes: int
    ) -> None:
        """Tell `begin` what is said of the file at an address, and then give its bytes to `sink`, in order.

        Raises `MedialaneError`: pull_url_refused, pull_failed, size_out_of_range for more than `max_bytes`; each with
        `field` url; and what `begin` and `sink` raise, after which nothing more is fetched.
        """
        async with self._answer(url) as response:
            declared = response.content_length
            if declared is not None and declared > max_bytes:
                raise _too_large(max_bytes)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            await begin(Declared(kind, declared))
            size = 0
            async for chunk in _chunks(response):
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                await sink(chunk)

    async def close(self) -> None:
        """Close every connection; requests still open fail."""
        await self._session.close()

    @asynccontextmanager
    async def _answer(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer with the file, at the end of the redirects."""
        for _ in range(_MOST_REDIRECTS + 1):
            why = judge_url(url, allow_private=self._allow_private)
            if why is not None:
                raise MedialaneError(ErrorCode.PULL_URL_REFUSED, f"This address is not fetched: {why}.", field="url")
            async with _told(), self._session.get(
                url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response:  # fmt: skip
                if response.status in _REDIRECTS:
                    url = _target(response)
                    continue
                _check(response)
                yield response
                return
        raise _failed("it redirects too often")


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Whatever goes wrong with the connection, until the last byte, is told as one error."""
    try:
        yield
    except TimeoutError as error:
        raise _failed("it took too long") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        refused = refusal_in(error)
        if refused is not None:
            detail = f"This address is not fetched: its address is {refused.reason}."
            raise MedialaneError(ErrorCode.PULL_URL_REFUSED, detail, field="url") from error
        raise _failed(why_unreachable(error)) from error


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in response.content.iter_chunked(_CHUNK):
        yield chunk


def _target(response: aiohttp.ClientResponse) -> str:
    place = response.headers.get("Location", "")
    try:
        return str(response.url.join(URL(place)).with_fragment(None))
    except (ValueError, IndexError) as error:  # the latter for what `judge_url` cannot read either
        raise _failed("it redirects to what is no address") from error


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise _failed(f"it answered {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _failed("it answered compressed, though it was asked not to")


def _failed(why: str) -> MedialaneError:
    return MedialaneError(ErrorCode.PULL_FAILED, f"The address could not be fetched: {why}.", field="url")


def _too_large(max_bytes: int) -> MedialaneError:
    detail = f"The file has more than {max_bytes} bytes."
    return MedialaneError(ErrorCode.SIZE_OUT_OF_RANGE, detail, field="url")
