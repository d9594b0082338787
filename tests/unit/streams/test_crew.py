"""Claims and the work that follows: outcomes are told once, a drain gives back what does not finish."""

import asyncio

import pytest

from streams.crew import Callbacks, Crew


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
    assert drained == (0, 1, 0)
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
    assert await draining == (0, 1, 0)
    assert handler.given_back == ["late"]


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
