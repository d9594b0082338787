"""A webhook receiver for the demo, the bench, the tests and `webhooks listen`: keeps every request as it came, and
misbehaves on demand.

What it keeps is what a customer would see on the wire, so checks made on it are checks of the product, not of a fake.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SIGNATURE_HEADER = "x-webhook-signature"
_HOST = "127.0.0.1"


class VerificationError(Exception):
    """A request whose signature does not hold; the message says which one."""


class Received(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One request: header names in lower case, the raw body, arrival in Unix seconds, and what it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    plan: str

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The body as JSON. Raises `ValueError` if it is no object."""
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @property
    def event_type(self) -> str:
        """The type of the event, `asset.ready` for one."""
        return str(self.payload.get("type") or self.payload.get("event"))

    @property
    def asset_id(self) -> str:
        """The asset that the event is about."""
        return str(self.payload.get("asset_id"))

    @property
    def message_id(self) -> str:
        """`webhook-id`: the event's id, the same on every attempt."""
        return self.headers.get("webhook-id", "")

    @property
    def trace_id(self) -> str:
        """The trace id of the `traceparent` header, or nothing."""
        parts = self.headers.get("traceparent", "").split("-")
        return parts[1] if len(parts) >= 4 else ""

    def verify(self, secret: str) -> None:
        """Check both signatures against a `whsec_...` secret; raises `VerificationError`."""
        try:
            Webhook(secret).verify(self.body.decode(), self.headers)
        except WebhookVerificationError as error:
            raise VerificationError(f"{self.event_type}: webhook-signature does not hold: {error}") from error
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = "sha256=" + hmac.new(key, self.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, self.headers.get(SIGNATURE_HEADER, "")):
            raise VerificationError(f"{self.event_type}: X-Webhook-Signature does not hold")


class Receiver:
    """An HTTP server on a loopback port that answers 200 to every POST unless told otherwise.

    Use as `async with`. `received` grows in order of arrival, hung and failed requests among them.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._runner: web.AppRunner | None = None
        self._arrival = asyncio.Event()
        self._released = asyncio.Event()
        self._plans: list[str] = []
        self.received: list[Received] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, name: str = "hook") -> str:
        """An address of this receiver; requests to it are told apart by `Received.path`."""
        return f"http://{_HOST}:{self._port}/{name}"

    def fail_next(self, count: int, status: int = 500) -> None:
        """Answer the next requests with an error."""
        self._plans += [str(status)] * count

    def hang_next(self, count: int) -> None:
        """Do not answer the next requests until `release`."""
        self._plans += ["hang"] * count

    def release(self) -> None:
        """Answer what hangs."""
        self._released.set()

    def about(self, asset_id: object) -> list[Received]:
        """The requests about one asset, in order of arrival."""
        return [one for one in self.received if one.asset_id == str(asset_id)]

    async def wait_for(self, satisfied: Callable[[Sequence[Received]], bool], timeout_s: float) -> None:
        """Return as soon as what has arrived satisfies the condition; raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while not satisfied(self.received):
                self._arrival.clear()
                await self._arrival.wait()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        plan = self._plans.pop(0) if self._plans else "200"
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(
            Received(path=request.path.lstrip("/"), headers=headers, body=body, arrived=time.time(), plan=plan)
        )
        self._arrival.set()
        if plan == "hang":
            await self._released.wait()
            return web.Response()
        return web.Response(status=int(plan))
