"""A tenant's breaker: opened by its dead letters, tried by one job, closed by its good end; other tenants feel nothing."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from support import protocol

from connectors.postgres.protocol import breakers, jobs
from connectors.postgres.protocol.content import Role
from connectors.postgres.protocol.replay import replay_asset
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode
from schemas.ids import uuid7
from schemas.settings import BreakerSettings, KeeperSettings
from schemas.states import BreakerState, JobClass
from streams.keeper.rounds import Rounds

BUDGET = BreakerSettings(consecutive=3, ratio=0.5, minimum=6, pause_s=3600, longest_pause_s=7200)


@pytest.fixture
async def tenant(worker, seed):
    return await seed.tenant(worker)


@pytest.fixture
def rounds(worker):
    return Rounds(worker, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper"), BUDGET)


async def fail(worker, job, sha256=None):
    async with worker.transaction() as connection:
        await protocol.fail(connection, job, sha256=sha256)


async def join(worker, job, sha256):
    async with worker.transaction() as connection:
        return (await protocol.join(connection, job, sha256)).role


async def finish(worker, job, sha256=None):
    sha256 = sha256 or uuid7().bytes * 2
    await join(worker, job, sha256)
    async with worker.transaction() as connection:
        await protocol.finish(connection, job, sha256)


async def try_again(worker, job, code=ErrorCode.CHILD_DIED, delay_s=0):
    async with worker.transaction() as connection:
        costs = code is not None
        await jobs.wait(connection, job, delay_s=delay_s, costs_attempt=costs, code=code)


async def bury(worker, seed, tenant_id, count):
    for _ in range(count):
        await fail(worker, await seed.claim(worker, await seed.upload(worker, tenant_id)))


async def breaker(worker, tenant_id):
    async with worker.transaction() as connection:
        found = {one.tenant_id: one for one in await breakers.list_breakers(connection, everything=True)}
    return found.get(tenant_id)


async def reason(worker, seed, made):
    return (await seed.column(worker, "SELECT concat_ws(' ', state, reason) FROM jobs WHERE id = :j", j=made.job_id))[0]


async def pause_over(worker, seed, tenant_id):
    await seed.change(worker, "UPDATE breakers SET retry_at = now() WHERE tenant_id = :t", t=tenant_id)


async def half_open(worker, seed, tenant, rounds):
    """A breaker that tries a job: returns it, and as it was claimed."""
    await bury(worker, seed, tenant, 3)
    await rounds.round()
    made = await seed.upload(worker, tenant)
    await pause_over(worker, seed, tenant)
    await rounds.round()
    return made, await seed.claim(worker, made)


async def test_dead_letters_in_a_row_open_it_and_hold_that_tenants_jobs_only(worker, seed, tenant, rounds):
    other = await seed.upload(worker, await seed.tenant(worker))
    queued = await seed.upload(worker, tenant)
    await bury(worker, seed, tenant, 2)
    await rounds.round()
    assert await breaker(worker, tenant) is None, "two are within the budget"
    await bury(worker, seed, tenant, 1)
    await rounds.round()
    found = await breaker(worker, tenant)
    assert (found.state, found.waiting) == (BreakerState.OPEN, 1)
    assert found.cause == "3 of the last 3 jobs were given up"
    assert await reason(worker, seed, queued) == "waiting breaker"
    assert await seed.claim(worker, queued) is None, "its record is stale"
    assert await reason(worker, seed, await seed.upload(worker, tenant)) == "waiting breaker"
    assert await seed.claim(worker, other) is not None


async def test_a_share_of_dead_letters_opens_it_too(worker, seed, tenant, rounds):
    for _ in range(3):
        await bury(worker, seed, tenant, 1)
        await rounds.round()
        assert await breaker(worker, tenant) is None
        await finish(worker, await seed.claim(worker, await seed.upload(worker, tenant)))
    await bury(worker, seed, tenant, 1)
    await rounds.round()
    assert (await breaker(worker, tenant)).cause == "4 of the last 7 jobs were given up"


async def test_one_job_is_tried_and_its_good_end_closes_it(worker, seed, tenant, rounds):
    await bury(worker, seed, tenant, 3)
    await rounds.round()
    waiting = [await seed.upload(worker, tenant) for _ in range(3)]
    await rounds.round()
    assert [await reason(worker, seed, one) for one in waiting] == ["waiting breaker"] * 3
    await pause_over(worker, seed, tenant)
    await rounds.round()
    await rounds.round()
    assert [await reason(worker, seed, one) for one in waiting] == ["queued", "waiting breaker", "waiting breaker"]
    assert (await breaker(worker, tenant)).state is BreakerState.HALF_OPEN
    probe = await seed.claim(worker, waiting[0])
    # A probe that has to be tried again is still the probe.
    await try_again(worker, probe)
    await rounds.round()
    await finish(worker, await seed.claim(worker, waiting[0]))
    await rounds.round()
    assert (await breaker(worker, tenant)).state is BreakerState.CLOSED
    assert [await reason(worker, seed, one) for one in waiting] == ["done", "queued", "queued"]
    # What was charged before is paid for.
    await bury(worker, seed, tenant, 2)
    await rounds.round()
    assert (await breaker(worker, tenant)).state is BreakerState.CLOSED


async def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(worker, seed, tenant):
    budget = msgspec.structs.replace(BUDGET, pause_s=3600, longest_pause_s=3.5 * 3600)
    rounds = Rounds(worker, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper"), budget)
    _, probe = await half_open(worker, seed, tenant, rounds)
    pauses = []
    for trips in (1, 2, 3):
        await fail(worker, probe)
        await rounds.round()
        found = await breaker(worker, tenant)
        assert (found.state, found.trips) == (BreakerState.OPEN, trips)
        pauses += await seed.column(
            worker,
            "SELECT extract(epoch FROM retry_at - clock_timestamp())::float8 FROM breakers WHERE tenant_id = :t",
            t=tenant,
        )
        made = await seed.upload(worker, tenant)
        await pause_over(worker, seed, tenant)
        await rounds.round()
        probe = await seed.claim(worker, made)
    assert pauses == [pytest.approx(3600 * hours, abs=900) for hours in (2, 3.5, 3.5)]


async def test_what_ended_before_the_window_is_not_counted(worker, seed, tenant, rounds):
    await bury(worker, seed, tenant, 3)
    await seed.change(
        worker,
        "UPDATE jobs SET finished_at = now() - :window * interval '1 second' - interval '1 minute' "
        "WHERE id = (SELECT id FROM jobs WHERE tenant_id = :t LIMIT 1)",
        t=tenant,
        window=BUDGET.window_s,
    )
    await rounds.round()
    assert await breaker(worker, tenant) is None
    await bury(worker, seed, tenant, 1)
    await rounds.round()
    assert (await breaker(worker, tenant)).cause == "3 of the last 3 jobs were given up"


async def test_a_probe_that_is_cancelled_makes_way_for_another(worker, seed, tenant, rounds):
    await bury(worker, seed, tenant, 3)
    await rounds.round()
    await pause_over(worker, seed, tenant)
    await rounds.round()
    assert (await breaker(worker, tenant)).state is BreakerState.HALF_OPEN, "nothing to try yet"
    first, second = [await seed.upload(worker, tenant) for _ in range(2)]
    await rounds.round()
    assert await reason(worker, seed, first) == "queued"
    await seed.change(worker, "UPDATE jobs SET state = 'cancelled' WHERE id = :j", j=first.job_id)
    await rounds.round()
    assert await reason(worker, seed, second) == "queued"


async def test_a_probe_that_is_left_to_a_newer_release_makes_way_for_another(worker, seed, tenant, rounds):
    _, probe = await half_open(worker, seed, tenant, rounds)
    other = await seed.upload(worker, tenant)
    await try_again(worker, probe, code=None, delay_s=3600)
    await rounds.round()
    assert await reason(worker, seed, other) == "queued"


async def test_what_is_left_to_a_newer_release_is_tried_after_all_others(worker, seed, tenant, rounds):
    """However short its pause is beside the time that it takes to try the others."""
    _, probe = await half_open(worker, seed, tenant, rounds)
    others = [await seed.upload(worker, tenant) for _ in range(2)]
    for other in others:
        await try_again(worker, probe, code=None)
        await rounds.round()
        assert await reason(worker, seed, other) == "queued"
        probe = await seed.claim(worker, other)


@pytest.mark.parametrize(("end", "role"), [(finish, Role.REUSE), (fail, Role.DOOMED)], ids=["good", "bad"])
async def test_the_job_that_is_tried_leads_its_bytes_though_a_replay_that_is_held_did(
    worker, seed, tenant, rounds, end, role
):
    first = await seed.upload(worker, tenant)
    sha256, job = first.asset_id.bytes * 2, await seed.claim(worker, first)
    await join(worker, job, sha256)
    await fail(worker, job, sha256)
    await bury(worker, seed, tenant, 2)
    await rounds.round()
    async with worker.transaction() as connection:
        replayed = await replay_asset(connection, first.asset_id, reason="r", job_class=JobClass.SECONDARY)
    held = first._replace(job_id=replayed)
    again = await seed.upload(worker, tenant)
    await pause_over(worker, seed, tenant)
    await rounds.round()
    assert [await reason(worker, seed, one) for one in (held, again)] == ["waiting breaker", "queued"]
    probe = await seed.claim(worker, again)
    assert await join(worker, probe, sha256) is Role.LEADER
    await end(worker, probe, sha256)
    await rounds.round()
    await pause_over(worker, seed, tenant)
    await rounds.round()
    assert await join(worker, await seed.claim(worker, held), sha256) is role


async def test_a_probe_that_finds_no_room_is_tried_again_without_room(worker, seed, tenant, rounds):
    for _ in range(2):
        await seed.claim(worker, await seed.upload(worker, tenant))
    made, probe = await half_open(worker, seed, tenant, rounds)
    await try_again(worker, probe)
    await seed.change(worker, "UPDATE tenants SET credits = 2 WHERE id = :t", t=tenant)
    await rounds.round()
    assert await reason(worker, seed, made) == "waiting credit"
    await rounds.round()
    assert await reason(worker, seed, made) == "queued"
    await finish(worker, await seed.claim(worker, made))
    await rounds.round()
    assert (await breaker(worker, tenant)).state is BreakerState.CLOSED


async def test_a_probe_that_is_the_twin_of_a_held_job_makes_way_for_it(worker, seed, tenant, rounds):
    sha256, first = uuid7().bytes * 2, await seed.upload(worker, tenant)
    leader = await seed.claim(worker, first)
    assert await join(worker, leader, sha256) is Role.LEADER
    twin, probe = await half_open(worker, seed, tenant, rounds)
    assert await join(worker, probe, sha256) is Role.TWIN
    await try_again(worker, leader)
    await rounds.round()
    assert await reason(worker, seed, first) == "queued", "held, and the next to be tried"
    await finish(worker, await seed.claim(worker, first), sha256)
    await rounds.round()
    assert (await breaker(worker, tenant)).state is BreakerState.CLOSED
    assert await reason(worker, seed, twin) == "queued"


async def test_an_operator_holds_and_lets_go(worker, seed, tenant, rounds):
    made = await seed.upload(worker, tenant)
    async with worker.transaction() as connection:
        await breakers.set_breaker(connection, tenant, held=True, actor="a@b", why="abuse")
    await rounds.round()
    assert await reason(worker, seed, made) == "waiting breaker"
    async with worker.transaction() as connection:
        await breakers.set_breaker(connection, tenant, held=False, actor="a@b")
    await rounds.round()
    assert await reason(worker, seed, made) == "queued"
    actions = await seed.column(worker, "SELECT action FROM audit_log WHERE tenant_id = :t ORDER BY id", t=tenant)
    assert actions == ["breaker.open", "breaker.close"]
