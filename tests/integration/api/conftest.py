import pytest
from support import api

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings


@pytest.fixture
def env(database, bucket):
    """The variables of an API process on this module's database and bucket."""
    return api.environment(database, bucket)


@pytest.fixture
async def app(database):
    """A pool under the app role on this module's own database."""
    async with Database(DatabaseSettings(url=database.app, pool_size=2), application="test") as opened:
        yield opened


@pytest.fixture
def new_caller(server, operator, session):
    """A caller for a new tenant."""

    async def make(base=None):
        tenant = await operator.tenant()
        key = await operator.key(tenant.id)
        return api.Caller(base or server.address, tenant.id, key.text, session)

    return make


@pytest.fixture
async def caller(new_caller):
    return await new_caller()


@pytest.fixture
async def store(bucket):
    async with S3ObjectStore(bucket) as opened:
        yield opened
