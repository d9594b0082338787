"""The API as a process: granian around the application, in one event loop that this module owns.

    await serve(dependencies, stop=event, listening=lambda address: ...)
    run(os.environ)                      # what `medialane run api` calls; returns after SIGTERM or SIGINT

On a stop no further connection is taken and every request in flight is answered, within the drain bound.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from api.app import Application, Dependencies
from api.live.hub import Hub
from connectors.kafka.tail import TopicTail
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from connectors.telemetry import Telemetry
from schemas.settings import (
    ApiSettings,
    AuthSettings,
    DatabaseSettings,
    KafkaSettings,
    MediaSettings,
    ObjectStoreSettings,
    ProfileSettings,
    PullSettings,
    ShutdownSettings,
    TelemetrySettings,
    WebhookSettings,
    load,
)
from schemas.topics import EVENTS

if TYPE_CHECKING:
    from litestar.types import ASGIApp

_log = structlog.get_logger(__name__)

_HEADER_TIMEOUT_MS = 10_000
_MOST_CONNECTIONS = 512
"""Open at once; further ones wait in the socket's backlog. Granian counts idle ones, too, and closes those that bring
no request within the header's time. Half of them may be listeners'. With all else that a process has open, this stays
below the usual limit of 1,024 files."""

LONGEST_UNREAD_MS = 30_000
"""How long a client may take nothing of what it is sent, until its connection is cut. The kernel watches over it: the
server is handed all of an answer at once, and tells nobody what became of it."""

Listening = Callable[[str], None]


def run(env: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. Raises `SettingsError`, or `OSError` when the port is taken."""
    if not uvloop.run(_run(env)):
        # A thread that waits for a hung store cannot be stopped, and the interpreter would wait for it.
        logging.shutdown()
        os._exit(0)


async def _run(env: Mapping[str, str]) -> bool:
    database_settings, store_settings = load(DatabaseSettings, env), load(ObjectStoreSettings, env)
    api, webhooks, shutdown = load(ApiSettings, env), load(WebhookSettings, env), load(ShutdownSettings, env)
    media, auth, kafka = load(MediaSettings, env), load(AuthSettings, env), load(KafkaSettings, env)
    profiles, pulls = load(ProfileSettings, env), load(PullSettings, env)
    telemetry = Telemetry.start(load(TelemetrySettings, env), process="api")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with (
            Database(database_settings, application="api", role="app") as database,
            S3ObjectStore(store_settings) as store,
        ):
            given = Dependencies(
                database, store, telemetry, api, webhooks, media, kafka, auth=auth, profiles=profiles, pulls=pulls
            )
            return await serve(given, stop=stop, drain_s=shutdown.drain_timeout)
    finally:
        telemetry.stop()


async def serve(
    given: Dependencies, *, stop: asyncio.Event, drain_s: float, listening: Listening | None = None
) -> bool:
    """Serve until `stop` is set, then answer what is in flight, for at most `drain_s` seconds.

    False if something had to be cut off.
    """
    application = Application.build(given)
    tail = _tail(given.kafka, application.hub)
    held, port = _reserved(given.api.host, given.api.port)
    server = _server(application.asgi, held, given.api.host, port)
    serving = asyncio.create_task(server.serve())
    await _until_listening(given.api.host, port, serving)
    address = f"http://{given.api.host}:{port}"
    _log.info("listening", address=address)
    if listening is not None:
        listening(address)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    application.hub.close()  # streams end by themselves, others when they are answered
    server.stop()  # type: ignore[no-untyped-call]
    _, late = await asyncio.wait({serving}, timeout=drain_s)
    if late:
        _log.warning("requests were cut off", drain_s=drain_s)
        serving.cancel()
    await tail.close()
    _log.info("stopped")
    return not late


def _tail(settings: KafkaSettings, hub: Hub) -> TopicTail:
    tail = TopicTail(settings, EVENTS.name(settings.topic_prefix), hub.heard)
    hub.hear_from(tail)
    return tail


class _Server(Server):
    """Granian on a socket of ours, which it closes; its own would have no options."""

    held: socket.socket

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._shd = SocketHolder(self.held.detach(), uds=False, backlog=self.backlog)  # type: ignore[call-arg, assignment]


def _server(app: "ASGIApp", held: socket.socket, host: str, port: int) -> _Server:
    server = _Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        websockets=False,
        backlog=1024,
        backpressure=_MOST_CONNECTIONS,
        log_level=LogLevels.error,
        # Its lines go to our handler, as JSON, instead of its own.
        log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}},
    )
    server.held = held
    return server


async def _until_listening(host: str, port: int, serving: "asyncio.Task[None]") -> None:
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
    await serving
    raise RuntimeError("the server stopped before it listened")


def _reserved(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket for the server to listen on, and its port; 0 finds a free one.

    Several processes may share a port. A program that does not share its own is noticed: `OSError`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Whom it accepts inherits both.
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LONGEST_UNREAD_MS)
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an event waits for no word of the one before
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise OSError(error.errno, f"{host}, port {port}: {error.strerror}") from error
    return held, held.getsockname()[1]
