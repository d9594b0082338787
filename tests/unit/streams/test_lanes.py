"""Lanes with a handler that the test holds the strings of: what is claimed when, what may be committed, who is told."""

import asyncio
from itertools import count

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from streams import lanes as lanes_module
from streams.core.lane import Bounds, Lane
from streams.core.ledger import Partition
from streams.core.queues import Fifo
from streams.core.roundrobin import DeficitRoundRobin
from streams.gauges import LaneGauges
from streams.lanes import Lanes

A, B = Partition("jobs", 0), Partition("jobs", 1)


class Handler:
    def __init__(self):
        self.claimed = []
        self.failing = {}
        self.stale = set()
        self.jobs = {}

    async def claim(self, payload):
        if self.failing.get(payload, 0):
            self.failing[payload] -= 1
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        self.claimed.append(payload)
        return None if payload in self.stale else payload

    async def run(self, work):
        self.jobs[work] = asyncio.Event()
        await self.jobs[work].wait()
        return 1.0


class Flow:
    def __init__(self):
        self.full = set()

    def on_buffer_full(self, tp):
        self.full.add(tp)

    def on_buffer_drop(self, tp):
        self.full.discard(tp)


def lanes(handler, *, slots=2, running=2, window=8, partitions=(A, B), queue=Fifo):
    flow = Flow()
    made = Lanes(handler, lambda: flow, slots=slots, bounds=Bounds.of(running=running, window=window), queue=queue)
    made.assign(partitions)
    return made, flow


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it looks from outside
            await asyncio.sleep(0.01)


async def test_the_offset_moves_with_the_claim_and_not_with_the_job():
    handler = Handler()
    made, _ = lanes(handler)
    made.put(A, 10, "t", "long job")
    assert made.positions() == {A: 10}
    await settle()
    assert handler.claimed == ["long job"]
    assert made.positions() == {A: 11}
    assert made.lanes[A].running == 1


async def test_nothing_is_claimed_without_a_slot():
    handler = Handler()
    made, _ = lanes(handler, slots=1)
    made.put(A, 0, "t", "first")
    made.put(A, 1, "t", "second")
    await settle()
    assert handler.claimed == ["first"]
    assert made.positions() == {A: 1}
    handler.jobs["first"].set()
    await settle()
    assert handler.claimed == ["first", "second"]


async def test_a_lane_runs_no_more_than_its_bound_though_slots_are_free():
    handler = Handler()
    made, _ = lanes(handler, slots=5, running=2)
    for offset in range(4):
        made.put(A, offset, "t", f"a{offset}")
    await settle()
    assert handler.claimed == ["a0", "a1"]
    assert made.slots.free == 3


async def test_stale_records_take_no_slot_for_long():
    handler = Handler()
    handler.stale = {f"a{offset}" for offset in range(5)}
    made, _ = lanes(handler, slots=1)
    for offset in range(5):
        made.put(A, offset, "t", f"a{offset}")
    await settle()
    assert made.positions() == {A: 5}
    assert made.slots.free == 1


async def test_an_outage_pauses_the_lane_moves_no_offset_and_ends_by_itself():
    handler = Handler()
    handler.failing = {"a0": 2}
    made, _ = lanes(handler)
    made.put(A, 0, "t", "a0")
    made.put(B, 0, "t", "b0")
    await settle()
    assert handler.claimed == ["b0"], "the other lane goes on"
    assert made.positions() == {A: 0, B: 1}
    assert made.slots.free == 1, "a paused lane holds no slot"
    await until(lambda: handler.claimed == ["b0", "a0"])
    assert made.positions() == {A: 1, B: 1}


async def test_many_that_fail_at_once_pause_the_lane_once_and_a_long_outage_ends(monkeypatch):
    monkeypatch.setattr(lanes_module, "_PAUSE_S", 1e-4)
    monkeypatch.setattr(lanes_module, "_LONGEST_PAUSE_S", 2e-4)
    handler, resumed, away, tries = Handler(), [], True, 0

    async def claim(payload):
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if away:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        handler.claimed.append(payload)

    handler.claim = claim
    made, _ = lanes(handler, slots=16, running=8, window=64, queue=DeficitRoundRobin)
    resume = Lane.resume
    monkeypatch.setattr(Lane, "resume", lambda lane: (resumed.append(lane), resume(lane)))
    for offset in range(20):
        made.put(A, offset, f"t{offset % 3}", f"a{offset}")
    await until(lambda: len(resumed) > 1100)
    assert tries <= 8 * (len(resumed) + 1), "every pause ends once, and starts no more than the lane may run"
    away = False
    await until(lambda: len(handler.claimed) == 20)
    assert made.positions() == {A: 20}
    assert made.slots.free == 16


async def test_a_defect_of_the_books_ends_the_watch():
    handler = Handler()
    made, _ = lanes(handler)
    watch = asyncio.create_task(made.watch())
    made.ledger.settle = lambda _entry: 1 / 0
    made.put(A, 0, "t", "a0")
    await until(watch.done)
    assert isinstance(watch.exception(), ZeroDivisionError)


async def test_a_full_lane_says_so_and_asks_for_more_when_it_has_room():
    handler = Handler()
    made, flow = lanes(handler, slots=1, window=8)
    for offset in range(5):
        made.put(A, offset, "t", f"a{offset}")
    await settle()
    assert flow.full == {A}
    for name in ("a0", "a1"):
        handler.jobs[name].set()
        await settle()
    assert flow.full == set()


async def test_a_revoke_drops_what_has_not_started_and_lets_jobs_go_on():
    handler = Handler()
    made, _ = lanes(handler, slots=1)
    made.put(A, 0, "t", "running")
    made.put(A, 1, "t", "waiting")
    await settle()
    made.revoke([A, B])
    assert made.positions() == {}
    assert made.lanes[A].running == 1
    assert made.lanes[A].waiting == 0
    handler.jobs["running"].set()
    await settle()
    assert handler.claimed == ["running"]
    assert A not in made.lanes, "nothing is left of the lane"
    made.put(A, 1, "t", "too late")
    assert A not in made.lanes


async def test_jobs_of_the_last_assignment_count_against_the_lane():
    handler = Handler()
    made, _ = lanes(handler, slots=4, running=1)
    made.put(A, 0, "t", "old")
    await settle()
    made.revoke([A, B])
    made.assign([A])
    made.put(A, 1, "t", "new")
    await settle()
    assert handler.claimed == ["old"]
    handler.jobs["old"].set()
    await settle()
    assert handler.claimed == ["old", "new"]


async def test_a_claim_that_fails_after_a_revoke_is_not_offered_again():
    handler = Handler()
    gate = asyncio.Event()

    async def claim(payload):
        await gate.wait()
        raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, payload)

    handler.claim = claim
    made, _ = lanes(handler)
    made.put(A, 0, "t", "a0")
    await settle()
    made.revoke([A, B])
    gate.set()
    await until(lambda: A not in made.lanes)
    assert made.slots.free == 2


async def test_a_defect_in_the_claim_does_not_hold_the_partition_for_ever():
    handler = Handler()

    async def claim(payload):
        raise KeyError(payload)

    handler.claim = claim
    made, _ = lanes(handler)
    made.put(A, 0, "t", "a0")
    await until(lambda: made.positions() == {A: 1})
    assert made.slots.free == 2


async def test_a_defect_is_counted_by_record_though_others_are_claimed_in_between(monkeypatch):
    monkeypatch.setattr(lanes_module, "_PAUSE_S", 1e-4)
    monkeypatch.setattr(lanes_module, "_LONGEST_PAUSE_S", 2e-4)
    handler, tries, offsets = Handler(), [], count(1)

    async def claim(payload):
        if payload == "poison":
            tries.append(payload)
            raise KeyError(payload)
        made.put(A, next(offsets), payload, payload)

    handler.claim = claim
    made, _ = lanes(handler, slots=3, running=2, window=64, queue=DeficitRoundRobin)
    made.put(A, 0, "t0", "poison")
    for tenant in ("t0", "t1", "t2"):
        made.put(A, next(offsets), tenant, tenant)
    await until(lambda: made.positions()[A] > 0 or len(tries) > 20)
    assert len(tries) == 5
    assert next(offsets) > 8, "others were claimed in between"
    await made.stop_intake()


async def test_bounds_change_while_it_runs():
    handler = Handler()
    made, flow = lanes(handler, slots=4, running=1, window=8)
    for offset in range(4):
        made.put(A, offset, "t", f"a{offset}")
    await settle()
    assert handler.claimed == ["a0"]
    made.resize(Bounds.of(running=3, window=4))
    await settle()
    assert handler.claimed == ["a0", "a1", "a2"]
    assert made.poll == 1
    made.put(A, 4, "t", "a4")
    assert flow.full == {A}
    made.resize(Bounds.of(running=3, window=64))
    assert flow.full == set(), "room is told at once"


async def test_what_was_taken_out_holds_the_watermark_until_it_is_done_with_or_offered_again():
    handler = Handler()
    made, flow = lanes(handler, slots=1, running=1, window=8, queue=DeficitRoundRobin)
    for offset in range(7):
        made.put(A, offset, "noisy", f"a{offset}")
    await settle()
    assert handler.claimed == ["a0"]
    assert flow.full == {A}
    assert made.take_excess(A, behind=False) == []
    out = [beyond.item for beyond in made.take_excess(A, behind=True)]
    assert [item.payload for item in out] == ["a2", "a3", "a4", "a5", "a6"]
    assert made.positions() == {A: 1}
    for item in out[:-1]:
        made.done_with(item)
    assert flow.full == set(), "it reads on"
    made.offer_again(out[-1])
    for name in ("a0", "a1"):
        handler.jobs[name].set()
        await settle()
    assert handler.claimed == ["a0", "a1", "a6"]
    assert made.positions() == {A: 7}


async def test_after_stop_intake_nothing_starts_and_claims_are_known():
    handler = Handler()
    made, _ = lanes(handler, slots=1)
    made.put(A, 0, "t", "running")
    made.put(A, 1, "t", "waiting")
    await made.stop_intake()
    assert made.positions() == {A: 1}, "what waited comes again"
    made.put(A, 2, "t", "too late")
    handler.jobs["running"].set()
    assert await made.drain(5) == (("running",), (), ())
    assert handler.claimed == ["running"]


async def test_slots_that_are_taken_are_shown_beside_those_there_are():
    class Member:
        highwater = position = staticmethod(lambda _key: None)

    handler = Handler()
    made, _ = lanes(handler, slots=3, running=2)
    metrics = Metrics(CollectorRegistry(), process="media-images")
    gauges = LaneGauges(metrics, made, Member())

    def shown():
        gauges.update()
        lines = metrics.render().decode().splitlines()
        return [float(line.split()[1]) for line in lines if line.startswith("media_process_slots")]

    assert shown() == [3, 0]
    for offset, key in enumerate([A, A, A, B, B]):
        made.put(key, offset, "t", f"{key.partition}:{offset}")
    await until(lambda: len(handler.jobs) == 3)
    assert shown() == [3, 3]
    for job in list(handler.jobs.values()):
        job.set()
    await until(lambda: len(handler.jobs) == 5)
    assert shown() == [3, 2]


def test_a_worker_beyond_the_partitions_says_so_each_time_it_becomes_one():
    with capture_logs() as logged:
        made, _ = lanes(Handler(), partitions=())
        made.assign([])
        assert [line["event"] for line in logged] == [
            "no partition for this process: there are as many workers as partitions, and it is a spare"
        ]
        made.assign([A])
        made.revoke([A])
        made.assign([])
    assert len(logged) == 2
