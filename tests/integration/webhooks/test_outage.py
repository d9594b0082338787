"""The agent while its database is away, and when it is back: nothing is lost, nothing that was delivered is sent again."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

from sqlalchemy import make_url

from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings
from streams.webhooks import due

from .conftest import offered


class Cable:
    """A TCP relay to the database that can be pulled out and put back."""

    def __init__(self, host, port):
        self.host, self.port, self.ends = host, port, set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.relay, "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_):
        await self.pull()

    async def relay(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        self.ends |= {writer, far_writer}
        await asyncio.gather(self.copy(reader, far_writer), self.copy(far_reader, writer))

    async def copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def pull(self):
        self.server.close()
        for end in self.ends:
            end.transport.abort()
        self.ends.clear()

    async def put_back(self):
        self.server = await asyncio.start_server(self.relay, *self.address)


@asynccontextmanager
async def pulled(database):
    """A database behind a cable, and the cable."""
    url = make_url(database.worker)
    async with Cable(url.host, url.port) as cable:
        host, port = cable.address
        through = url.set(host=host, port=port).render_as_string(hide_password=False)
        async with Database(DatabaseSettings(url=through, pool_timeout_s=1), application="test") as far:
            yield far, cable


async def test_a_lost_database_pauses_everything_and_loses_nothing(world, receiver, database):
    async with pulled(database) as (far, cable), world.running(database=far, lease_s=6.0) as agent:
        await world.endpoint(receiver.url())
        receiver.hang_next(1)
        await world.offer(agent, world.event(1))
        await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
        await cable.pull()
        receiver.release()  # the result of the first cannot be written, the second cannot be planned
        second = offered(agent, world.event(2))
        done, _ = await asyncio.wait({second}, timeout=0.5)
        assert not done
        assert await world.states() == ["sending"]
        assert not agent.problems()
        await cable.put_back()
        await world.settled("delivered", "delivered")
        assert second.done()
    assert len(receiver.received) == 2


class Watched:
    """Counts the looks of due loops, and their failures; holds results back while it is told to."""

    def __init__(self, monkeypatch):
        self.looks = self.failures = 0
        self.held = True
        look, pause, settle, expire = deliveries.due_endpoints, due.pause, deliveries.settle, deliveries.expire

        async def counted_look(connection):
            found = await look(connection)
            self.looks += 1
            return found

        async def counted_pause(failures):
            self.failures += 1
            await pause(failures)

        async def held_settle(connection, results):
            if self.held:
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
            return await settle(connection, results)

        async def old_postgres(connection, *, batch, lease_s):  # that of the tests has hardly begun
            return await expire(connection, batch=batch, lease_s=0.0)

        monkeypatch.setattr(deliveries, "expire", old_postgres)
        monkeypatch.setattr(deliveries, "due_endpoints", counted_look)
        monkeypatch.setattr(due, "pause", counted_pause)
        monkeypatch.setattr(deliveries, "settle", held_settle)

    async def more(self, name, count):
        wanted = getattr(self, name) + count
        async with asyncio.timeout(90):
            while getattr(self, name) < wanted:  # noqa: ASYNC110 - the loops tell nobody
                await asyncio.sleep(0.01)


@asynccontextmanager
async def outage_with_a_result(world, receiver, database, monkeypatch, lease_s):
    """Two agents whose database was away until all leases were old; one of them holds the result of a delivery."""
    watched = Watched(monkeypatch)
    monkeypatch.setattr(due, "_AWAY_S", 0.1)
    changes = {"timeout_s": lease_s / 2, "lease_s": lease_s, "poll_interval_s": 0.02}
    await world.endpoint(receiver.url())
    async with (
        pulled(database) as (far, cable),
        world.running(owner="one", database=far, **changes) as agent,
        world.running(owner="two", database=far, **changes),
    ):
        await world.offer(agent, world.event())
        await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
        await cable.pull()
        await watched.more("failures", 20)  # five of one loop's take longer than what counts as being away
        await world.execute("UPDATE webhook_deliveries SET lease_until = now() WHERE tenant_id = %s", world.tenant_id)
        await cable.put_back()
        yield watched


async def test_results_that_wait_for_the_database_are_written_before_leases_run_out(
    world, receiver, database, monkeypatch
):
    async with outage_with_a_result(world, receiver, database, monkeypatch, lease_s=300.0) as watched:
        await watched.more("looks", 8)
        assert await world.states() == ["sending"]
        watched.held = False
        await world.settled("delivered")
    assert len(receiver.received) == 1
    assert [(row["attempt"], row["outcome"]) for row in await world.attempts()] == [(1, "delivered")]


async def test_a_lease_later_what_nobody_settled_is_sent_again(world, receiver, database, monkeypatch):
    async with outage_with_a_result(world, receiver, database, monkeypatch, lease_s=2.0) as watched:
        await receiver.wait_for(lambda got: len(got) == 2, timeout_s=90)
        watched.held = False
        await world.settled("delivered")
