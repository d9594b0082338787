"""Fixtures of tests that talk to a running API, or look behind it: at the database, at the object store."""

import aiohttp
import pytest
from support import api

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings


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
async def app(database):
    """A pool under the app role on this module's own database."""
    async with Database(DatabaseSettings(url=database.app, pool_size=2), application="test") as opened:
        yield opened


@pytest.fixture
async def worker(database):
    """A pool under the worker role on this module's own database."""
    async with Database(DatabaseSettings(url=database.worker, pool_size=8), application="test") as opened:
        yield opened


@pytest.fixture
async def store(bucket):
    """A client of this module's own bucket."""
    async with S3ObjectStore(bucket) as opened:
        yield opened


@pytest.fixture
async def operator(database):
    opened = api.Operator(database)
    yield opened
    await opened.database.close()
