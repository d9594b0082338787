"""A real HTTP server on loopback, of one handler, for as long as a test needs it."""

from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(handler):
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
