"""Fixtures of tests that talk to a running API, or look behind it."""

import aiohttp
import pytest
from support import api


@pytest.fixture(scope="module")
def server(database, bucket):
    """A running API."""
    with api.running(api.environment(database, bucket)) as started:
        yield started


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def operator(database):
    opened = api.Operator(database)
    yield opened
    await opened.database.close()
