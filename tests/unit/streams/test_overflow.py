"""Full lanes: excess goes back to rows and is due when its turn would come; what cannot go back is offered again."""

import asyncio

import pytest

from schemas.errors import ErrorCode, MedialaneError
from streams.core.lane import Bounds
from streams.core.ledger import Partition
from streams.core.roundrobin import DeficitRoundRobin, Share, Shares
from streams.lanes import Lanes
from streams.overflow import Overflow

A = Partition("jobs", 0)


class Handler:
    """Every claim leads to a job that never ends."""

    def __init__(self):
        self.claimed = []

    async def claim(self, payload):
        self.claimed.append(payload)
        return payload

    async def run(self, work):
        await asyncio.Event().wait()


class Flow:
    def on_buffer_full(self, tp):
        """Nothing is fetched here."""

    on_buffer_drop = on_buffer_full


class Rows:
    """Takes everything back, unless it is away or the payload is nothing that has a row."""

    def __init__(self):
        self.away = False
        self.back = {}

    async def __call__(self, offers):
        if self.away:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        self.back |= {payload: delay for payload, delay in offers if payload != "rowless"}
        return [payload in self.back for payload, _ in offers]


@pytest.fixture
async def scene():
    rows, behind = Rows(), [True]
    lanes = Lanes(
        Handler(), Flow, slots=1, bounds=Bounds.of(running=1, window=64), queue=DeficitRoundRobin
    )  # fmt: skip
    lanes.assign([A])
    yield lanes, rows, behind, Overflow(lanes, rows, lambda _key: behind[0])
    await lanes.stop_intake()
    await lanes.drain(0)


async def test_excess_of_a_lane_that_has_not_seen_everything_goes_back(scene):
    lanes, rows, behind, overflow = scene
    for offset in range(60):
        lanes.put(A, offset, "noisy", f"n{offset}")
    behind[0] = False
    await overflow.look()
    assert rows.back == {}, "it sees everything there is"
    behind[0] = True
    await overflow.look()
    assert list(rows.back) == [f"n{offset}" for offset in range(9, 60)], "the newest; its share of 16 is 8"
    assert not lanes.lanes[A].full
    delays = list(rows.back.values())
    assert all(0.8 <= delay <= 36 for delay in delays)
    assert min(delays[-10:]) >= max(delays[:3]) / 1.5, "later turns are due later"


async def test_a_lane_that_is_full_of_tenants_at_their_caps_reads_on():
    rows, flow, shares = Rows(), Flow(), Shares(default=Share(cap=1))
    lanes = Lanes(
        Handler(), lambda: flow, slots=8, bounds=Bounds.of(running=4, window=8), queue=lambda: DeficitRoundRobin(shares)
    )
    lanes.assign([A])
    overflow = Overflow(lanes, rows, lambda _key: True)
    for offset in range(9):
        lanes.put(A, offset, f"t{offset % 3}", f"n{offset}")
    assert lanes.lanes[A].full
    await overflow.look()
    await overflow.look()
    assert not lanes.lanes[A].full
    assert lanes.lanes[A].waiting == 3
    await lanes.stop_intake()
    await lanes.drain(0)


async def test_while_the_database_is_away_everything_stays(scene):
    lanes, rows, _, overflow = scene
    for offset in range(60):
        lanes.put(A, offset, "noisy", f"n{offset}")
    rows.away = True
    await overflow.look()
    assert lanes.lanes[A].waiting == 59
    assert lanes.lanes[A].full
    rows.away = False
    await overflow.look()
    assert len(rows.back) == 51


async def test_what_has_no_row_stays(scene):
    lanes, rows, _, overflow = scene
    for offset in range(60):
        lanes.put(A, offset, "noisy", "rowless" if offset == 50 else f"n{offset}")
    await overflow.look()
    assert len(rows.back) == 50
    assert lanes.lanes[A].waiting == 9


async def test_nothing_comes_back_after_a_revoke(scene):
    lanes, rows, _, overflow = scene
    for offset in range(60):
        lanes.put(A, offset, "noisy", f"n{offset}")
    rows.away = True

    async def revoked(offers):
        lanes.revoke([A])
        return await rows(offers)

    overflow._send_back = revoked
    await overflow.look()
    assert lanes.lanes[A].waiting == 0
