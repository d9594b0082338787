"""Claims and the work that follows: outcomes are told once, a drain gives back what does not finish."""

import asyncio
import contextlib

import pytest

from streams.crew import Callbacks, Crew, NotReturnedError


class Handler:
    """Claims at once; work ends when `finish` is set; remembers what was given back."""

    def __init__(self):
        self.finish = asyncio.Event()
        self.claim_gate = asyncio.Event()
        self.claim_gate.set()
        self.given_back = []

    async def claim(self, payload):
        await self.claim_gate.wait()
        if isinstance(payload, Exception):
            raise payload
        return payload

    async def run(self, work):
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.given_back.append(work)
            raise
        return 2.5


def told():
    events = []
    callbacks = Callbacks(
        lambda: events.append("claimed"),
        lambda error: events.append(type(error).__name__),
        events.append,
    )
    return events, callbacks


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_work_is_claimed_then_over_with_its_cost():
    handler = Handler()
    crew, (events, callbacks) = Crew(handler), told()
    crew.start("job", callbacks)
    await settle()
    assert events == ["claimed"]
    assert (crew.claiming, crew.working) == (0, 1)
    handler.finish.set()
    await settle()
    assert events == ["claimed", 2.5]
    assert (crew.claiming, crew.working) == (0, 0)


async def test_a_record_that_leads_to_no_work_is_over_at_once():
    crew, (events, callbacks) = Crew(Handler()), told()
    crew.start(None, callbacks)
    await settle()
    assert events == ["claimed", 0.0]


async def test_a_failed_claim_is_told_and_nothing_else():
    crew, (events, callbacks) = Crew(Handler()), told()
    crew.start(ValueError("no"), callbacks)
    await settle()
    assert events == ["ValueError"]
    assert crew.claiming == 0


async def test_drain_waits_for_what_finishes_and_gives_back_the_rest():
    handler = Handler()
    crew, (events, callbacks) = Crew(handler), told()
    crew.start("job", callbacks)
    await settle()
    drained = await crew.drain(0.0)
    assert drained == ((), ("job",), ())
    assert handler.given_back == ["job"]
    assert events == ["claimed", 0.0]


async def test_a_job_claimed_during_the_recall_is_given_back_too():
    """Its row is ours by then: without this, it would wait for its lease and count as a death."""
    handler = Handler()
    handler.claim_gate.clear()
    crew, (_, callbacks) = Crew(handler), told()
    crew.start("late", callbacks)
    await settle()
    draining = asyncio.create_task(crew.drain(0.0))
    await settle()
    handler.claim_gate.set()
    assert await draining == ((), ("late",), ())
    assert handler.given_back == ["late"]


async def test_a_drain_tells_each_jobs_outcome():
    class Mixed(Handler):
        async def run(self, work):
            if work == "quick":
                return 1.0
            try:
                await self.finish.wait()
            except asyncio.CancelledError:
                if work == "stuck":
                    await self.finish.wait()
                if work == "unreachable":
                    raise NotReturnedError from None
                raise
            return 1.0

    crew = Crew(Mixed())
    for name in ("quick", "slow", "unreachable"):
        crew.start(name, told()[1])
    drained = asyncio.create_task(crew.drain(0.2))
    assert await drained == (("quick",), ("slow",), ("unreachable",))


async def test_a_job_that_does_not_answer_is_abandoned(monkeypatch):
    monkeypatch.setattr("streams.crew._LEAST_GIVE_BACK_S", 0.1)

    class Deaf(Handler):
        async def run(self, work):
            while not self.finish.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.finish.wait()
            return 0.0

    handler = Deaf()
    crew = Crew(handler)
    crew.start("deaf", told()[1])
    await settle()
    assert await crew.drain(0) == ((), (), ("deaf",))
    handler.finish.set()
    await settle()
    assert crew.working == 0


@pytest.mark.parametrize("bound_s", [4.0, 10.0, 30.0])
async def test_giving_back_has_its_share_of_the_time(monkeypatch, bound_s):
    waits = []

    async def wait(tasks, **bound):
        waits.append(bound.get("timeout"))
        return await real(tasks, timeout=0.01)

    real = asyncio.wait
    handler = Handler()
    crew = Crew(handler)
    crew.start("slow", told()[1])
    await settle()
    monkeypatch.setattr("streams.crew.asyncio.wait", wait)
    await crew.drain(bound_s)
    assert sum(seconds for seconds in waits if seconds) == bound_s


async def test_claims_done_waits_for_claims_only():
    handler = Handler()
    handler.claim_gate.clear()
    crew, (_, callbacks) = Crew(handler), told()
    crew.start("job", callbacks)
    with pytest.raises(TimeoutError):
        await crew.claims_done(0.01)
    handler.claim_gate.set()
    await crew.claims_done(5)
    assert crew.working == 1
    await crew.drain(0)
