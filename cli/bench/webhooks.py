"""Deliveries per second: the agent with everything it guarantees, and a bare loop beside it; and to slow receivers."""

import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import msgspec
from standardwebhooks.webhooks import Webhook

from cli.bench.context import Bench, BenchError
from cli.bench.figures import Figure
from cli.harness.onboarding import Tenant
from connectors.postgres import outbox
from schemas.events import AssetCreated, encode_event
from schemas.ids import uuid7
from schemas.topics import EVENTS

_EVENTS, _QUICK_EVENTS = 6000, 1000
_IN_FLIGHT = 64
_SLOW_S = 0.2
_SLOW_ENDPOINTS = 4  # with sixteen in flight each
_PATIENCE_S = 300.0
_KEY = b"medialane bench key, 32 bytes ok"


class Counted(msgspec.Struct, frozen=True):
    """What the receiver counted; times in Unix seconds."""

    requests: int
    distinct: int
    first: float
    last: float


def measure(bench: Bench) -> list[Figure]:
    """Every event is in the outbox before the first is delivered, so that only the agent's pace shows."""
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Figure]:
    count = _QUICK_EVENTS if bench.quick else _EVENTS
    bench.tell(f"webhooks: {count} deliveries through the agent")
    agent = _rate(await _deliver(bench, count))
    bench.tell(f"webhooks: {count} deliveries by a bare loop that signs and posts, {_IN_FLIGHT} in flight")
    async with _receiver() as address:
        await _bare_loop(f"{address}/hook", count)
        bare = _rate(await _counted(address))
    bench.tell(f"webhooks: {count} deliveries to receivers that take {_SLOW_S} s each")
    slow = _rate(await _deliver(bench, count, endpoints=_SLOW_ENDPOINTS, delay_s=_SLOW_S))
    return [
        Figure("webhooks_per_s", agent, "1/s"),
        Figure("webhooks_bare_loop_per_s", bare, "1/s"),
        Figure("webhooks_ratio_to_bare_loop", agent / bare, ""),
        Figure("webhooks_slow_receivers_per_s", slow, "1/s"),
    ]


async def _deliver(bench: Bench, count: int, *, endpoints: int = 1, delay_s: float = 0.0) -> Counted:
    """Deliver so many events, shared out among tenants with an endpoint each."""
    async with _receiver(delay_s) as address:
        tenants = [await bench.tenant("webhooks") for _ in range(endpoints)]
        for tenant in tenants:
            async with bench.client(tenant) as client:
                await client.register_webhook(f"{address}/hook", [AssetCreated.event_type])
        await _emit(bench, tenants, count)
        return await _until(address, count, bench)


def _rate(counted: Counted) -> float:
    return (counted.distinct - 1) / (counted.last - counted.first)


async def _emit(bench: Bench, tenants: Sequence[Tenant], count: int) -> None:
    """Write events as presign would, all in one transaction, spread over the topic's partitions by their key."""
    async with bench.database() as database, database.transaction() as connection:
        for index in range(count):
            tenant = tenants[index % len(tenants)]
            event = _event(tenant, index)
            await outbox.write(
                connection,
                route=EVENTS.route,
                subject_id=str(event.asset_id),
                key=str(event.asset_id),
                tenant_id=tenant.id,
                record_type=event.event_type,
                payload=encode_event(event).decode(),
                row_id=event.id,
            )


def _event(tenant: Tenant, index: int) -> AssetCreated:
    return AssetCreated(
        id=uuid7(),
        time=datetime.now(tz=UTC),
        tenant_id=tenant.id,
        asset_id=uuid7(),
        generation=1,
        seq=1,
        file_name=f"{index}.jpg",
        content_type="image/jpeg",
        size=3_207_823,
    )


async def _until(address: str, count: int, bench: Bench) -> Counted:
    deadline = time.monotonic() + _PATIENCE_S
    told = time.monotonic()
    while True:
        counted = await _counted(address)
        if counted.distinct >= count:
            return counted
        if time.monotonic() > deadline:
            raise BenchError(f"{counted.distinct} of {count} webhooks arrived in {_PATIENCE_S:.0f} s")
        if time.monotonic() - told > 2:
            bench.tell(f"  {counted.distinct} of {count} delivered")
            told = time.monotonic()
        await asyncio.sleep(0.2)


async def _counted(address: str) -> Counted:
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        return msgspec.json.decode(await response.read(), type=Counted)


async def _bare_loop(url: str, count: int) -> None:
    left = iter(range(count))
    signer = Webhook(_KEY)
    body = json.dumps({"type": "asset.created", "data": {"file_name": "x.jpg", "pad": "x" * 400}})

    async def post() -> None:
        for _ in left:
            now, identifier = datetime.now(tz=UTC), str(uuid7())
            headers = {
                "Content-Type": "application/json",
                "webhook-id": identifier,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signer.sign(identifier, now, body),
                "X-Webhook-Signature": "sha256=" + hmac.new(_KEY, body.encode(), hashlib.sha256).hexdigest(),
            }
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_IN_FLIGHT)) as session:
        await asyncio.gather(*(post() for _ in range(_IN_FLIGHT)))


@asynccontextmanager
async def _receiver(delay_s: float = 0.0) -> AsyncIterator[str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli.bench.counter", str(delay_s),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        if child.stdout is None or not (port := (await child.stdout.readline()).strip()):
            raise BenchError("the counting receiver did not start")
        yield f"http://127.0.0.1:{port.decode()}"
    finally:
        child.terminate()
        await child.wait()
