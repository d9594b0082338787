"""What one tenant's receivers do to another's, on a real database: nothing that lasts."""

import asyncio
import socket
import threading

from aiohttp import web
from support.servers import serving

from cli.harness.receiver import Receiver
from connectors.http import resolver


async def register(world, urls):
    for url in urls:
        await world.endpoint(url)


async def test_a_tenant_whose_receivers_all_hang_leaves_slots_to_another(world, other, receiver):
    async with Receiver() as hanging:
        hanging.hang_next(1000)
        await register(world, [hanging.url(str(number)) for number in range(12)])
        await other.endpoint(receiver.url())
        async with world.running(
            drain_s=0.1, in_flight=8, in_flight_per_endpoint=4, timeout_s=600.0, lease_s=700.0
        ) as agent:
            await world.offer(agent, *(world.event(number) for number in range(10)))
            await hanging.wait_for(lambda got: len(got) == 6, timeout_s=90)
            await other.offer(agent, *(other.event(number) for number in range(20)))
            await receiver.wait_for(lambda got: len(got) == 20, timeout_s=90)
            assert len(hanging.received) == 6, "three quarters of what there is"


async def test_receivers_whose_answers_never_end_give_their_slots_back(world, other, receiver):
    ended = 0

    async def drip(request):
        nonlocal ended
        response = web.StreamResponse()
        await response.prepare(request)
        await released.wait()
        ended += 1
        return response

    released = asyncio.Event()
    async with serving(drip) as address:
        await register(world, [f"{address}/{number}" for number in range(12)])
        await other.endpoint(receiver.url())
        try:
            async with world.running(
                drain_s=0.1, in_flight=2, in_flight_per_endpoint=1, timeout_s=600.0, lease_s=700.0
            ) as agent:
                await world.offer(agent, world.event())
                await other.offer(agent, *(other.event(number) for number in range(20)))
                await receiver.wait_for(lambda got: len(got) == 20, timeout_s=90)
                await world.settled(*["delivered"] * 12)
            assert ended == 0
        finally:
            released.set()


async def test_names_whose_lookups_outlast_attempts_leave_threads_to_others(world, other, receiver, monkeypatch):
    answered = threading.Event()

    def lookup(host, port, family):
        if host.startswith("silent"):
            answered.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def given_up(attempts):
        return sum(attempt["outcome"] == "timeout" for attempt in await world.attempts()) >= attempts

    monkeypatch.setattr(resolver, "_lookup", lookup)
    port = receiver.url().rpartition(":")[2]
    await register(world, [f"http://silent{number}.example.com:{port}" for number in range(20)])
    await other.endpoint(f"http://good.example.com:{port}")
    try:
        async with world.running(in_flight=8, timeout_s=1.0, schedule_s=(0.05,) * 10) as agent:
            await world.offer(agent, world.event(1))
            await world.until(lambda: given_up(6))
            await world.offer(agent, world.event(2))
            await other.offer(agent, other.event())
            await other.settled("delivered")
            assert {attempt["outcome"] for attempt in await world.attempts()} == {"timeout"}
            answered.set()
            await world.settled(*["delivered"] * 40)
    finally:
        answered.set()
