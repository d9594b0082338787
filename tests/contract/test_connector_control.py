"""What the watchdog relies on, held against the real Connect and against the one in memory that its tests use."""

from contextlib import asynccontextmanager

import psycopg
import pytest
from support.connect import MemoryConnect, until

from connectors.debezium import ConnectClient, ConnectError, Watchdog, connector_config
from schemas.settings import ConnectSettings


class RealConnect:
    """The real one; a connector is broken by a publication that does not exist, and mended by making it."""

    def __init__(self, client, settings, database):
        self.client, self.settings, self.database = client, settings, database
        self.status, self.restart = client.status, client.restart

    async def create(self, name, *, broken):
        config = connector_config(self.settings, topic_prefix="contract")
        if broken:
            config["publication.name"] = "later"
        await self.client.register(name, config)

    async def mend(self, name):
        with psycopg.connect(self.database.owner, autocommit=True) as connection:
            connection.execute("CREATE PUBLICATION later FOR TABLE outbox, outbox_heartbeat WITH (publish = 'insert')")


@asynccontextmanager
async def real(request):
    stack, database = request.getfixturevalue("stack"), request.getfixturevalue("database")
    settings = ConnectSettings(
        url=stack.env["MEDIALANE_CONNECT_URL"],
        connector=f"contract-{database.name}",
        slot=f"contract_{database.name}",
        database_url=database.replication,
    )
    async with ConnectClient(settings) as client:
        yield RealConnect(client, settings, database), settings.connector
        await client.delete(settings.connector)


@asynccontextmanager
async def memory(request):
    yield MemoryConnect(), "it"


@pytest.fixture(params=[memory, pytest.param(real, marks=pytest.mark.stack)])
async def subject(request):
    async with request.param(request) as found:
        yield found


async def test_a_failed_connector_says_why_and_stays_down_until_it_is_restarted(subject):
    control, name = subject
    assert await control.status(name) is None
    with pytest.raises(ConnectError) as refused:
        await control.restart(name)
    assert refused.value.status == 404

    await control.create(name, broken=True)
    failed = await until(control, name, lambda status: status.failed)
    assert "publication" in failed.cause.lower()
    assert "\n" not in failed.cause

    await control.mend(name)
    assert (await control.status(name)).failed, "nobody restarts it by itself"
    report = await Watchdog(control, name).look()
    assert report.outcome == "restarted"
    assert (await until(control, name, lambda status: status.running)).cause == ""
