"""What the client says of a Connect that it cannot talk to."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from connectors.debezium import ConnectClient, ConnectError
from schemas.settings import ConnectSettings


async def test_a_connect_that_takes_too_long_is_said_to():
    answered = asyncio.Event()

    async def silent(_reader, writer):
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    settings = ConnectSettings(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, ConnectClient(settings, timeout_s=0.05) as client:
        with pytest.raises(ConnectError, match=r"does not answer: TimeoutError$"):
            await client.status("outbox")
        answered.set()


@asynccontextmanager
async def answering(*answers):
    """A client of a Connect that gives these answers, and what it was asked."""
    asked, left = [], list(answers)

    async def answer(request):
        asked.append(f"{request.method} {request.path}")
        return left.pop(0)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(app) as server, ConnectClient(ConnectSettings(url=str(server.make_url("")))) as client:
        yield client, asked


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.status("outbox"),
        lambda client: client.config("outbox"),
        lambda client: client.position("outbox", server="outbox"),
    ],
)
@pytest.mark.parametrize("body", ["<html>Sign in</html>", '{"offsets": [{"partition": {"shard": 1}}]}'])
async def test_what_is_no_answer_of_connects_is_an_error_of_its(ask, body):
    async with answering(web.Response(text=body)) as (client, _):
        with pytest.raises(ConnectError, match="something else"):
            await ask(client)


async def test_a_connector_is_resumed_when_a_rebalance_is_over():
    """Whoever has stopped it, and made it forget where it was, must not leave it so."""
    busy = web.json_response({"message": "rebalance"}, status=409)
    async with answering(busy, web.Response(status=202)) as (client, asked):
        await client.resume("outbox")
        assert asked == ["PUT /connectors/outbox/resume"] * 2


async def test_who_waits_for_connect_is_told_so_once(unused_tcp_port, monkeypatch):
    monkeypatch.setattr("connectors.debezium.client._OPERATORS_WAIT_S", 0.5)
    settings = ConnectSettings(url=f"http://127.0.0.1:{unused_tcp_port}")
    async with ConnectClient(settings) as client:
        with capture_logs() as logged, pytest.raises(ConnectError):
            await client.resume("outbox")
    (line,) = logged
    assert (line["log_level"], line["for_s"]) == ("warning", 0.5)
    assert "does not answer" in line["cause"]
