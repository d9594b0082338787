import pytest
from support import api

from cli.client import MedialaneClient


@pytest.fixture
def env(database, bucket):
    """The variables of an API process on this module's database and bucket."""
    return api.environment(database, bucket)


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
async def client(caller):
    """The Python client with the caller's key."""
    async with MedialaneClient(caller.base, caller.key) as opened:
        yield opened
