"""The small HTTP server that every worker runs: /metrics, /healthz, /readyz.

    server = TelemetryServer(metrics, host="127.0.0.1", port=0, ready=...)
    address = await server.start()        # "http://127.0.0.1:41234"
    await server.stop()

`ready` returns the reasons why the process is not (an empty sequence: it is); they are shown with a 503. A process that
answers is alive.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from connectors.telemetry.metrics import CONTENT_TYPE, Metrics

Probe = Callable[[], Awaitable[Sequence[str]]]


class TelemetryServer:
    """Serves a process's metrics and probes on an address of their own."""

    def __init__(self, metrics: Metrics, *, host: str, port: int, ready: Probe) -> None:
        self._metrics = metrics
        self._host, self._port = host, port
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; returns the address. Raises `OSError` when the port is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/healthz", self._show_alive)
        app.router.add_get("/readyz", self._show_ready)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Stop listening; does nothing if it never started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _show_alive(self, _request: web.Request) -> web.Response:
        return _verdict(())

    async def _show_ready(self, _request: web.Request) -> web.Response:
        return _verdict(await self._ready())


def _verdict(problems: Sequence[str]) -> web.Response:
    body = {"status": "unavailable" if problems else "ok", "problems": list(problems)}
    status = 503 if problems else 200
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
