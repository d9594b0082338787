import psycopg
import pytest
from support import seed as _seed

from streams.bucket import Bucket


@pytest.fixture
def seed():
    """Helpers that write and read rows."""
    return _seed


@pytest.fixture
def empty(database):
    """A fresh database beside the migrated one; yields its address under the owner."""
    name = f"empty_{database.owner.rsplit('/', 1)[-1].partition('?')[0]}"
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    head, _, _ = database.owner.rpartition("/")
    yield f"{head}/{name}"
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def bucket_of_ours(worker, store):
    """What keeps objects from being removed from a bucket of somebody else's; returns the `Bucket`."""
    found = Bucket(worker, store)
    await found.adopt()
    return found


@pytest.fixture
async def seeded(worker):
    """One asset of a new tenant with a queued job."""
    return await _seed.asset(worker, await _seed.tenant(worker))
