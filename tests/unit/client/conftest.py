"""A client, and the server that it talks to."""

import pytest
from support.answering import Server
from support.servers import serving

from cli import client as c


@pytest.fixture
async def server():
    server = Server()
    async with serving(server.handle) as server.url:
        yield server


@pytest.fixture
async def client(server):
    async with c.MedialaneClient(server.url, "mp_abc_secret") as client:
        yield client
