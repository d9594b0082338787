"""What the client says of a Connect that it cannot talk to."""

import asyncio

import pytest

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
