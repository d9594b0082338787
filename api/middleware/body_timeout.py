"""How long a request's body may take: a sender that is slow for ever would hold its connection as long.

The server bounds the time of headers only. One that breaks off is its sender's matter, too: the framework would call
it a defect.
"""

import asyncio
from typing import TYPE_CHECKING

from litestar.enums import ScopeType

from schemas.errors import ErrorCode, MedialaneError

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send, WebSocketReceiveMessage

LONGEST_S = 30.0
"""For the whole of it, from the first look for it: what went before (who is it, may they) is not the sender's time."""


class Bodies:
    """An ASGI application whose bodies come within the bound, or end as `MedialaneError(request_timeout)`.

    What breaks off, or is in chunks that are none, ends as `MedialaneError(invalid_request)`.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        ends: float | None = None
        whole = False

        async def receive_in_time() -> "HTTPReceiveMessage | WebSocketReceiveMessage":
            nonlocal ends, whole
            if whole:  # what comes now is the connection's end, whenever
                return await receive()
            if ends is None:
                ends = asyncio.get_running_loop().time() + LONGEST_S
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise MedialaneError(ErrorCode.REQUEST_TIMEOUT) from None
            if message["type"] == "http.disconnect" and _announces_body(scope):
                raise MedialaneError(ErrorCode.INVALID_REQUEST, "The request's body broke off.")
            whole = message["type"] != "http.request" or not message["more_body"]
            return message

        await self._app(scope, receive_in_time, send)


def _announces_body(scope: "Scope") -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
