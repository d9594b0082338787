"""A tenant with endpoints on a real database, agents on it, and what they wrote."""

import asyncio
import base64
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from cli.harness.receiver import Receiver
from connectors.postgres.webhooks.endpoints import register_endpoint
from connectors.secrets import SecretBox
from connectors.telemetry import Metrics, Telemetry, Tracing
from schemas.events import AssetCreated, encode_event
from schemas.ids import uuid7
from schemas.settings import WebhookSettings
from streams.webhooks.agent import WebhookAgent
from streams.webhooks.message import read_event

KEY = base64.b64encode(b"k" * 32).decode()
SECRET = b"endpoint secret"
WHSEC = "whsec_" + base64.b64encode(SECRET).decode()


class World:
    """One tenant, its endpoints and the agents that serve it; every test has a tenant of its own."""

    def __init__(self, database):
        self.database = database
        self.tenant_id = uuid7()
        self.exporter = InMemorySpanExporter()
        self.secret = WHSEC

    async def create(self):
        async with self.database.transaction() as connection:
            await connection.exec_driver_sql(
                "INSERT INTO tenants (id, slug) VALUES (%s, %s)", (self.tenant_id, f"t-{self.tenant_id.hex}")
            )

    async def endpoint(self, url, events=("*",), secret=SECRET):
        async with self.database.transaction() as connection:
            sealed = SecretBox(KEY).seal(secret)
            found = await register_endpoint(connection, self.tenant_id, url=url, sealed_secret=sealed, events=events)
        return found.id

    def event(self, number=1, traceparent=None, **changes):
        fields = {
            "id": uuid7(), "time": datetime.now(UTC), "tenant_id": self.tenant_id, "asset_id": uuid7(), "generation": 1,
            "seq": 1, "file_name": f"{number}.jpg", "content_type": "image/jpeg", "size": 100,
        }  # fmt: skip
        return read_event(encode_event(AssetCreated(**fields | changes)), traceparent)

    def settings(self, **changes):
        quick = {
            "timeout_s": 5.0, "lease_s": 10.0, "schedule_s": (0.05, 0.05, 0.05), "poll_interval_s": 0.05,
            "allow_private": True, "encryption_key": KEY,
        }  # fmt: skip
        return WebhookSettings(**quick | changes)

    def agent(self, owner="agent", database=None, **changes):
        telemetry = Telemetry(
            "webhooks", Tracing("webhooks", exporter=self.exporter), Metrics(CollectorRegistry(), process="webhooks")
        )
        made = WebhookAgent(database or self.database, self.settings(**changes), telemetry, owner=owner)
        made.metrics = telemetry.metrics
        return made

    @asynccontextmanager
    async def running(self, drain_s=5.0, **changes):
        agent = self.agent(**changes)
        agent.start()
        try:
            yield agent
        finally:
            await agent.stop(drain_s)

    async def offer(self, agent, *events):
        """Offer events and wait until each is durable."""
        async with asyncio.timeout(20):
            await asyncio.gather(*(asyncio.shield(offered(agent, event)) for event in events))

    async def rows(self, table="webhook_deliveries", order="created_at, id"):
        async with self.database.transaction() as connection:
            found = await connection.exec_driver_sql(
                f"SELECT * FROM {table} WHERE tenant_id = %s ORDER BY {order}", (self.tenant_id,)
            )
            return list(found.mappings())

    async def states(self):
        return [row["state"] for row in await self.rows()]

    async def attempts(self):
        return await self.rows("webhook_attempts", "delivery_id, attempt")

    async def execute(self, sql, *values):
        async with self.database.transaction() as connection:
            await connection.exec_driver_sql(sql, values)

    async def until(self, condition, timeout_s=90):
        """Poll the database until the condition holds."""
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - another process's table tells nobody
                await asyncio.sleep(0.02)

    async def settled(self, *states):
        """Wait until the deliveries are in these states, in the order in which they were made."""
        await self.until(lambda: _equals(self.states, list(states)))


async def _equals(read, wanted):
    return await read() == wanted


def offered(agent, event):
    """A future of the event's durability."""
    done = asyncio.get_running_loop().create_future()
    agent.offer(event, durable=lambda: done.set_result(None), broken=done.set_exception)
    return done


@pytest.fixture
async def receiver():
    async with Receiver() as made:
        yield made


@asynccontextmanager
async def tenant(worker):
    made = World(worker)
    await made.create()
    yield made
    # An agent serves every tenant: what this one has left must not meet the next test's.
    await made.execute("DELETE FROM tenants WHERE id = %s", made.tenant_id)


@pytest.fixture
async def world(worker):
    async with tenant(worker) as made:
        yield made


@pytest.fixture
async def other(worker):
    """Another tenant; the agents of `world` serve it, too."""
    async with tenant(worker) as made:
        yield made
