"""The job protocol's rules, each on a real Postgres, two workers wherever two could meet."""

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa
from support import protocol

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.protocol import endings, jobs, keeper
from connectors.postgres.protocol.content import Role
from connectors.postgres.protocol.jobs import FencedError
from schemas.details import Facts
from schemas.errors import READER, ErrorCode

SHA = bytes(range(32))
FACTS = Facts(width=40, height=30)


def variant(profile="thumbnail", sha256=SHA):
    return NewVariant(
        profile=profile, profile_version=1, content_sha256=sha256, object_key=f"media/{profile}", content_type="image/webp",
        format="webp", width=4, height=3, duration_s=None, size=9, sha256=SHA,
    )  # fmt: skip


async def claim(database, record, owner="worker-a"):
    async with database.transaction() as connection:
        return await protocol.claim(connection, record, owner=owner, lease_s=10)


async def join(database, job, sha256=SHA):
    async with database.transaction() as connection:
        return await protocol.join(connection, job, sha256)


async def finish(database, job, variants=(), sha256=SHA):
    async with database.transaction() as connection:
        await protocol.finish(connection, job, sha256, variants=variants, report={"cpu_s": 0.5})


async def fail(database, job, code=ErrorCode.CORRUPT, sha256=SHA):
    async with database.transaction() as connection:
        await protocol.fail(connection, job, sha256=sha256, code=code)


async def state(database, seeded):
    async with database.transaction() as connection:
        row = await connection.execute(sa.text("SELECT * FROM jobs WHERE id = :id"), {"id": seeded.job_id})
        return row.one()


async def events(database, seeded, seed):
    return await seed.column(
        database, "SELECT type FROM asset_events WHERE asset_id = :a ORDER BY seq", a=seeded.asset_id
    )


async def dispatches(database, seeded, seed):
    statement = (
        "SELECT payload::json->>'dispatch' FROM outbox WHERE type = 'job.dispatch' AND aggregateid = :j ORDER BY id"
    )
    return [int(n) for n in await seed.column(database, statement, j=str(seeded.job_id))]


async def test_of_many_claims_at_once_one_succeeds(worker, seed, seeded):
    claims = await asyncio.gather(*(claim(worker, seeded.dispatch(), f"w{n}") for n in range(8)))
    assert sum(job is not None for job in claims) == 1
    assert await events(worker, seeded, seed) == ["job.started"]


@pytest.mark.parametrize("number", [0, 2, 99])
async def test_a_dispatch_that_is_not_the_rows_claims_nothing(worker, seeded, number):
    assert await claim(worker, seeded.dispatch(number)) is None
    assert (await state(worker, seeded)).state == "queued"


async def test_a_finish_writes_state_events_and_variants_together(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    assert (await join(worker, job)).role is Role.LEADER
    await finish(worker, job, [variant("thumbnail"), variant("display_small")])
    row = await state(worker, seeded)
    assert (row.state, row.owner, row.lease_until, row.report) == ("done", None, None, {"cpu_s": 0.5})
    assert await events(worker, seeded, seed) == [
        "job.started", "variant.ready", "variant.ready", "job.done", "asset.ready",
    ]  # fmt: skip
    sent = await seed.column(
        worker, "SELECT seq FROM outbox WHERE aggregateid = :a ORDER BY seq", a=str(seeded.asset_id)
    )
    assert sent == [1, 2, 3, 4, 5]


async def test_a_zombie_changes_nothing(worker, seed, seeded):
    zombie = await claim(worker, seeded.dispatch(), "zombie")
    await join(worker, zombie)
    await seed.change(worker, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :j", j=seeded.job_id)
    async with worker.transaction() as connection:
        assert await keeper.emit_expired(connection, batch=10, max_deaths=3, lease_s=0) == 1
    heir = await claim(worker, seeded.dispatch(2), "heir")
    assert heir.epoch == zombie.epoch + 1
    before = await events(worker, seeded, seed)
    async with worker.transaction() as connection:
        assert await jobs.heartbeat(connection, [(zombie.job_id, zombie.epoch)], lease_s=10) == set()

    async def commit():
        async with worker.transaction() as connection:
            await endings.commit_variants(connection, zombie, [variant()], traceparent=None)

    async def give_back():
        async with worker.transaction() as connection:
            await jobs.release(connection, zombie)

    async def wait():
        async with worker.transaction() as connection:
            await jobs.wait(connection, zombie, delay_s=1, costs_attempt=True)

    for act in (commit, give_back, wait, lambda: finish(worker, zombie, [variant()]), lambda: fail(worker, zombie)):
        with pytest.raises(FencedError):
            await act()
    assert await events(worker, seeded, seed) == before
    assert await seed.column(worker, "SELECT profile FROM variants WHERE asset_id = :a", a=seeded.asset_id) == []
    states = await seed.column(worker, "SELECT state FROM content WHERE tenant_id = :t", t=seeded.tenant_id)
    assert states == ["open"], "a fenced end must not close the content either"
    await finish(worker, heir, [variant()])


async def test_an_expired_lease_that_was_not_emitted_again_is_renewed(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await seed.change(worker, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :j", j=seeded.job_id)
    async with worker.transaction() as connection:
        assert await jobs.heartbeat(connection, [(job.job_id, job.epoch)], lease_s=10) == {seeded.job_id}
        assert await keeper.emit_expired(connection, batch=10, max_deaths=3, lease_s=0) == 0


async def test_drain_costs_nothing_and_retry_costs_an_attempt(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    async with worker.transaction() as connection:
        await jobs.release(connection, job)
    row = await state(worker, seeded)
    assert (row.state, row.dispatch, row.attempts, row.deaths) == ("queued", 2, 0, 0)
    again = await claim(worker, seeded.dispatch(2))
    async with worker.transaction() as connection:
        await jobs.wait(connection, again, delay_s=0, costs_attempt=True, code=ErrorCode.CHILD_DIED)
    row = await state(worker, seeded)
    assert (row.state, row.reason, row.attempts) == ("waiting", "retry", 1)
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    assert await dispatches(worker, seeded, seed) == [2, 3]
    last = await claim(worker, seeded.dispatch(3))
    assert job.queued_at < again.queued_at < last.queued_at
    assert job.created_at == again.created_at == last.created_at <= job.queued_at
    assert await events(worker, seeded, seed) == ["job.started"], "a later claim is no new start"


async def test_a_slow_record_is_sent_again_under_the_same_dispatch(worker, seed, seeded):
    await seed.change(worker, "UPDATE jobs SET next_emit_at = now() WHERE id = :j", j=seeded.job_id)
    async with worker.transaction() as connection:
        assert await keeper.emit_unclaimed(connection, batch=10) == 1
        assert await keeper.emit_unclaimed(connection, batch=10) == 0
    assert await dispatches(worker, seeded, seed) == [1]
    assert await claim(worker, seeded.dispatch(1)) is not None


async def test_a_record_that_stays_unclaimed_is_sent_at_doubling_intervals(worker, seed, seeded):
    hour, pauses = 3600.0, []
    for _ in range(3):
        await seed.change(worker, "UPDATE jobs SET next_emit_at = now() WHERE id = :j", j=seeded.job_id)
        async with worker.transaction() as connection:
            assert await keeper.emit_unclaimed(connection, batch=10, reemit_s=hour) == 1
        pause = "SELECT extract(epoch FROM next_emit_at - clock_timestamp())::float8 FROM jobs WHERE id = :j"
        pauses += await seed.column(worker, pause, j=seeded.job_id)
    assert pauses == [pytest.approx(hour * times, abs=hour / 2) for times in (2, 4, 8)]


async def test_two_keepers_at_once_move_a_job_once(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    async with worker.transaction() as connection:
        await jobs.wait(connection, job, delay_s=0, costs_attempt=True)

    async def keep():
        async with worker.transaction() as connection:
            return await keeper.emit_due(connection, batch=10)

    assert sum(await asyncio.gather(*(keep() for _ in range(6)))) == 1
    assert await dispatches(worker, seeded, seed) == [2]


async def test_a_job_that_kills_its_workers_is_given_up(worker, seed, seeded):
    for number in (1, 2, 3):
        job = await claim(worker, seeded.dispatch(number), f"victim-{number}")
        await join(worker, job)
        await seed.change(worker, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :j", j=seeded.job_id)
        async with worker.transaction() as connection:
            assert await keeper.emit_expired(connection, batch=10, max_deaths=3, lease_s=0) == (1 if number < 3 else 0)
    async with worker.transaction() as connection:
        lost = await keeper.lost_jobs(connection, batch=10, max_deaths=3, lease_s=0)
    assert [one.job_id for one in lost] == [seeded.job_id]
    async with worker.transaction() as connection:
        await keeper.bury_lost(connection, lost[0])
    row = await state(worker, seeded)
    assert (row.state, row.error_code, row.deaths) == ("failed", "worker_lost", 3)
    assert await events(worker, seeded, seed) == ["job.started", "job.failed", "asset.failed"]
    letters = await seed.column(worker, "SELECT code FROM dead_letters WHERE job_id = :j", j=seeded.job_id)
    sent = await seed.column(
        worker, "SELECT type FROM outbox WHERE aggregatetype = 'jobs.dlq' AND aggregateid = :j", j=str(seeded.job_id)
    )
    assert (letters, sent) == (["worker_lost"], ["job.dead"])


async def test_twins_wait_for_their_leader_and_reuse_what_it_made(worker, seed, seeded):
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader)
    other = await seed.asset(worker, seeded.tenant_id)
    twin = await claim(worker, other.dispatch())
    assert (await join(worker, twin)).role is Role.TWIN
    parked = await state(worker, other)
    assert (parked.state, parked.reason) == ("waiting", "twin")
    await finish(worker, leader, [variant()])
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    woken = await claim(worker, other.dispatch(2))
    decision = await join(worker, woken)
    assert decision.role is Role.REUSE
    assert decision.facts == FACTS


async def test_the_same_bytes_of_another_tenant_share_nothing(worker, seed, seeded):
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader)
    await finish(worker, leader, [variant()])
    foreign = await seed.asset(worker, await seed.tenant(worker))
    job = await claim(worker, foreign.dispatch())
    assert (await join(worker, job)).role is Role.LEADER


async def test_a_twin_of_bytes_that_failed_for_good_fails_at_once(worker, seed, seeded):
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader)
    await fail(worker, leader, ErrorCode.TRUNCATED)
    other = await seed.asset(worker, seeded.tenant_id)
    decision = await join(worker, await claim(worker, other.dispatch()))
    assert (decision.role, decision.code) == (Role.DOOMED, ErrorCode.TRUNCATED)


@pytest.mark.parametrize(
    ("reader", "role"),
    [(None, Role.LEADER), (READER - 1, Role.LEADER), (READER, Role.DOOMED), (READER + 1, Role.DOOMED)],
)
async def test_bytes_that_failed_are_tried_again_where_more_can_be_read(worker, seed, seeded, reader, role):
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader)
    await fail(worker, leader, ErrorCode.UNKNOWN_FORMAT)
    kept = "SELECT reader FROM content WHERE tenant_id = :t"
    assert await seed.column(worker, kept, t=seeded.tenant_id) == [READER]
    await seed.change(worker, "UPDATE content SET reader = :r WHERE tenant_id = :t", r=reader, t=seeded.tenant_id)
    again, twin = [await seed.asset(worker, seeded.tenant_id) for _ in range(2)]
    job = await claim(worker, again.dispatch())
    assert (await join(worker, job)).role is role
    if role is Role.LEADER:
        assert (await join(worker, await claim(worker, twin.dispatch()))).role is Role.TWIN
        await finish(worker, job, [variant()])
        async with worker.transaction() as connection:
            assert await keeper.emit_due(connection, batch=10) == 1
        now = "SELECT concat_ws(' ', state, reader, error_code) FROM content WHERE tenant_id = :t"
        assert await seed.column(worker, now, t=seeded.tenant_id) == ["done"]


async def test_a_leader_that_fails_by_no_fault_of_the_bytes_leaves_the_lead_to_its_oldest_twin(worker, seed, seeded):
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader)
    twins = [await seed.asset(worker, seeded.tenant_id) for _ in range(2)]
    for twin in twins:
        await join(worker, await claim(worker, twin.dispatch()))
    await fail(worker, leader, ErrorCode.PROCESSING_FAILED)
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    heir = await claim(worker, twins[0].dispatch(2))
    assert (await join(worker, heir)).role is Role.LEADER


async def leader_and_other(worker, seed, seeded):
    """Two claimed jobs of the same new bytes, of which the first leads: both jobs, and the bytes' hash."""
    first, second = [await seed.asset(worker, seeded.tenant_id) for _ in range(2)]
    sha256 = UUID(int=first.job_id.int).bytes * 2
    leader, other = await claim(worker, first.dispatch()), await claim(worker, second.dispatch())
    await join(worker, leader, sha256)
    return leader, other, sha256


async def is_due(worker, seed, job):
    due = "SELECT id FROM jobs WHERE id = :j AND due_at <= clock_timestamp()"
    return await seed.column(worker, due, j=job.job_id) == [job.job_id]


async def test_parking_and_the_leaders_end_at_once_never_leave_a_sleeping_twin(worker, seed, seeded):
    for _ in range(10):
        leader, twin, sha256 = await leader_and_other(worker, seed, seeded)
        decision, _ = await asyncio.gather(
            join(worker, twin, sha256), finish(worker, leader, [variant(sha256=sha256)], sha256)
        )
        if decision.role is Role.TWIN:
            assert await is_due(worker, seed, twin)
        else:
            assert decision.role is Role.REUSE


async def test_sleeping_on_and_the_leaders_end_at_once_never_leave_a_sleeping_twin(worker, seed, seeded):
    for _ in range(10):
        leader, twin, sha256 = await leader_and_other(worker, seed, seeded)
        await join(worker, twin, sha256)
        await seed.change(worker, "UPDATE jobs SET due_at = now() WHERE id = :j", j=twin.job_id)

        async def sleep_on():
            async with worker.transaction() as connection:
                await keeper.emit_due(connection, batch=10)

        await asyncio.gather(sleep_on(), finish(worker, leader, [variant(sha256=sha256)], sha256))
        assert await is_due(worker, seed, twin)


async def test_outputs_whose_commit_was_not_answered_are_made_known_once(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await join(worker, job)
    for made in ([variant("a")], [variant("a"), variant("b")], [variant("a")]):
        async with worker.transaction() as connection:
            await endings.commit_variants(connection, job, made, traceparent=None)
    told = "SELECT subject FROM asset_events WHERE asset_id = :a AND type = 'variant.ready' ORDER BY seq"
    assert await seed.column(worker, told, a=seeded.asset_id) == ["a", "b"]


async def test_events_of_one_asset_stay_in_commit_order_under_concurrency(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await join(worker, job)

    async def commit(profile):
        async with worker.transaction() as connection:
            await endings.commit_variants(connection, job, [variant(profile)], traceparent=None)

    await asyncio.gather(*(commit(f"p{n}") for n in range(6)))
    await finish(worker, job)
    seqs = await seed.column(worker, "SELECT seq FROM asset_events WHERE asset_id = :a ORDER BY seq", a=seeded.asset_id)
    assert seqs == list(range(1, 10))
