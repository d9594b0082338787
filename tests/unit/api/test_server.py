"""How the API's process begins: with all that it needs, or not at all; and whom it serves no longer."""

import asyncio
import socket
from contextlib import asynccontextmanager

import msgspec
import pytest
from yarl import URL

from api import server
from api.document.offline import unconnected
from schemas.settings import PROCESSES, ApiSettings, SettingsError, variable

REQUIRED = [
    variable(group, field.name)
    for group in PROCESSES["api"]
    for field in msgspec.structs.fields(group)
    if field.required
]
"""As the table of settings has it."""


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_is_required_and_not_set_is_named_and_nothing_begins(missing, monkeypatch):
    async def serve(*_given, **_about):
        pytest.fail("it began")

    monkeypatch.setattr(server, "serve", serve)
    address = {
        "MEDIALANE_S3_ENDPOINT": "http://127.0.0.1:1",
        "MEDIALANE_S3_BUCKET": "b",
        "MEDIALANE_KAFKA_BROKERS": "127.0.0.1:1",
    }
    env = dict.fromkeys(REQUIRED, "postgresql://127.0.0.1:1/x") | address
    with pytest.raises(SettingsError, match=missing):
        server.run({name: value for name, value in env.items() if name != missing})


@asynccontextmanager
async def served():
    """An API with nothing behind it, in this process; its address."""
    stop, listens = asyncio.Event(), asyncio.get_running_loop().create_future()
    given = unconnected()._replace(api=ApiSettings(host="127.0.0.1", port=0))
    serving = asyncio.create_task(server.serve(given, stop=stop, drain_s=10, listening=listens.set_result))
    try:
        yield URL(await listens)
    finally:
        stop.set()
        await serving


def test_who_is_accepted_is_cut_when_deaf_and_sent_each_event_at_once():
    held, port = server._reserved("127.0.0.1", 0)
    with held:
        held.listen()
        with socket.create_connection(("127.0.0.1", port)), held.accept()[0] as accepted:
            options = [
                accepted.getsockopt(socket.IPPROTO_TCP, name) for name in (socket.TCP_USER_TIMEOUT, socket.TCP_NODELAY)
            ]
    assert options == [server.LONGEST_UNREAD_MS, 1]


def deaf(address):
    """A client that asks for more than the kernel takes in its place, and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect((address.host, address.port))
    client.sendall(b"GET /schema/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
    return client


async def test_clients_that_do_not_read_are_cut_and_others_served(monkeypatch):
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 2)
    monkeypatch.setattr(server, "LONGEST_UNREAD_MS", 500)
    async with served() as address, asyncio.timeout(60):
        clients = [deaf(address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        for client in clients:
            client.close()


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1, port {port}: Address already in use"):
            server._reserved("127.0.0.1", port)
