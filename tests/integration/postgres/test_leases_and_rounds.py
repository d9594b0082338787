"""A worker's leases and the keeper's rounds on a real Postgres, a database that goes away among it."""

import asyncio

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from support import protocol
from support.locks import until_waited_for

from connectors.postgres import locks
from connectors.postgres.database import Database
from connectors.postgres.protocol import breakers, jobs, keeper
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import JOBS_FINISHED, JOBS_OLDEST_WAITING, JOBS_WAITING, KEEPER_MOVES
from schemas.settings import DatabaseSettings, KeeperSettings
from streams.keeper import rounds as rules
from streams.keeper.backlog import BacklogGauges
from streams.keeper.lease_grace import LeaseGrace
from streams.keeper.rounds import Rounds
from streams.media.leases import Leases


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry(), process="keeper")


@pytest.fixture
def rounds(worker, metrics):
    return Rounds(worker, KeeperSettings(interval_s=0.05, lease_s=0.01), metrics)


async def claim(worker, seeded, number=1):
    async with worker.transaction() as connection:
        return await protocol.claim(connection, seeded.dispatch(number))


async def expire(worker, seed, job):
    await seed.change(worker, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :j", j=job.job_id)


async def test_a_lease_that_was_taken_over_is_lost_once(worker, seed, seeded, rounds):
    leases = Leases(worker, lease_s=10, heartbeat_s=1)
    job, lost = await claim(worker, seeded), []
    leases.hold(job, lambda: lost.append(job.job_id))
    await leases.beat()
    assert lost == []
    await expire(worker, seed, job)
    await rounds.round()
    await leases.beat()
    await leases.beat()
    assert lost == [job.job_id]
    assert len(leases) == 0


async def test_a_row_that_is_locked_costs_the_others_no_lease(worker, seed, seeded):
    """It is held all the same, and renewed once it is free."""
    leases, lost = Leases(worker, lease_s=3600, heartbeat_s=1), []
    mine = [await claim(worker, one) for one in (seeded, await seed.asset(worker, seeded.tenant_id))]
    for job in mine:
        leases.hold(job, lambda: lost.append(True))
    renewed = "SELECT id FROM jobs WHERE tenant_id = :t AND lease_until > now() + interval '30 minutes' ORDER BY id"
    async with worker.transaction() as connection:
        await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await locks.lock_held(connection, [(mine[0].job_id, mine[0].epoch)])
        async with asyncio.timeout(60):
            await leases.beat()
        assert await seed.column(worker, renewed, t=seeded.tenant_id) == [mine[1].job_id]
    await leases.beat()
    assert await seed.column(worker, renewed, t=seeded.tenant_id) == sorted(job.job_id for job in mine)
    assert lost == []


async def test_a_lock_on_jobs_that_outlasts_a_lease_says_nothing_of_who_held_one(worker):
    now = [1000.0]
    grace = LeaseGrace(worker, lease_s=10, interval_s=1, clock=lambda: now[0])
    for _ in range(8):  # a statement that is made often is prepared
        await grace.ask()
        assert grace.over
    async with worker.transaction() as connection:
        await connection.execute(sa.text("LOCK TABLE jobs IN SHARE MODE"))  # as CREATE INDEX does
        asking = asyncio.create_task(grace.ask())
        await until_waited_for(connection, worker, asking)
        now[0] += 11
        assert not grace.over
    await asking
    assert not grace.over, "whoever lives has not had the time to renew"
    now[0] += 10
    assert grace.over


async def test_a_round_that_waited_for_a_lock_on_jobs_takes_over_nothing_that_could_not_be_renewed(
    worker, seed, seeded, metrics
):
    rounds = Rounds(worker, KeeperSettings(lease_s=2), metrics)
    async with worker.transaction() as connection:
        job = await protocol.claim(connection, seeded.dispatch(1), lease_s=1)
    async with worker.transaction() as connection:
        await connection.execute(sa.text("LOCK TABLE jobs IN SHARE MODE"))
        began = [asyncio.create_task(one) for one in (rounds.grace.ask(), rounds.round())]
        await until_waited_for(connection, worker, began[1])
        await connection.execute(sa.text("SELECT pg_sleep(3)"))  # longer than the lease
    await asyncio.gather(*began)
    row = "SELECT concat_ws(' ', state, deaths) FROM jobs WHERE id = :j"
    assert await seed.column(worker, row, j=job.job_id) == ["running 0"]


async def test_no_answer_from_the_database_is_not_a_lost_lease(worker, seeded):
    away = Database(DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/none"), application="away")
    leases = Leases(away, lease_s=10, heartbeat_s=1)
    lost = []
    leases.hold(await claim(worker, seeded), lambda: lost.append(True))
    await leases.beat()
    assert (lost, len(leases)) == ([], 1)
    await away.close()


async def test_a_job_that_was_claimed_anew_keeps_its_new_lease(worker, seed, seeded, rounds):
    leases, lost = Leases(worker, lease_s=10, heartbeat_s=1), []
    old = await claim(worker, seeded)
    leases.hold(old, lambda: lost.append("old"))
    await expire(worker, seed, old)
    await rounds.round()
    new = await claim(worker, seeded, 2)
    leases.hold(new, lambda: lost.append("new"))
    leases.let_go(old)
    await leases.beat()
    assert (lost, len(leases)) == (["old"], 1), "who still works under the old one stops"


def test_a_heartbeat_that_could_miss_its_lease_is_refused(database):
    with pytest.raises(ValueError, match="heartbeat"):
        Leases(Database(DatabaseSettings(url=database.worker), application="t"), lease_s=4, heartbeat_s=2)


async def test_a_round_moves_what_is_due_and_counts_it(worker, seed, seeded, rounds, metrics):
    job = await claim(worker, seeded)
    async with worker.transaction() as connection:
        await jobs.wait(connection, job, delay_s=0, costs_attempt=True)
    await rounds.round()
    assert f'{KEEPER_MOVES.name}{{rule="due"}} 1.0' in metrics.render().decode()


async def test_a_backlog_that_can_not_be_counted_costs_no_round(rounds, monkeypatch):
    async def too_long(_):
        raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)

    monkeypatch.setattr(keeper, "backlog", too_long)
    await rounds.round()


async def test_what_waits_is_counted_by_state_and_reason(worker, seed, seeded, metrics):
    waiting = "UPDATE jobs SET state = 'waiting', reason = 'twin' WHERE id = :j"
    await seed.change(worker, waiting, j=(await seed.asset(worker, seeded.tenant_id)).job_id)
    await BacklogGauges(worker, metrics).measure()
    text = metrics.render().decode()
    assert f'{JOBS_WAITING.name}{{reason="twin"}} 1.0' in text
    assert f'{JOBS_OLDEST_WAITING.name}{{reason="queued"}} 0.0' not in text


async def test_one_round_reaches_what_is_due_behind_many_of_a_tenant_without_room(worker, seed, seeded, metrics):
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=seeded.tenant_id)
    for _ in range(5):
        await seed.upload(worker, seeded.tenant_id)
    behind = await seed.asset(worker, await seed.tenant(worker))
    due = """
        UPDATE jobs SET state = 'waiting', reason = 'retry', due_at = now() - :ago * interval '1 minute'
        WHERE tenant_id = :t AND state = 'waiting' OR id = :j
    """
    await seed.change(worker, due, t=seeded.tenant_id, j=None, ago=2)
    await seed.change(worker, due, t=None, j=behind.job_id, ago=1)
    await Rounds(worker, KeeperSettings(batch=2), metrics).round()
    assert await seed.column(worker, "SELECT state FROM jobs WHERE id = :j", j=behind.job_id) == ["queued"]


async def test_twins_whose_leader_works_are_not_sent_out_however_many_a_round_does_not_reach(
    worker, seed, seeded, metrics
):
    sha256 = seeded.job_id.bytes * 2
    twins = [await seed.asset(worker, seeded.tenant_id) for _ in range(rules._MOST_BATCHES + 1)]
    for one in (seeded, *twins):
        job = await claim(worker, one)
        async with worker.transaction() as connection:
            await protocol.join(connection, job, sha256)
    over = "UPDATE jobs SET due_at = now() - interval '1 minute' WHERE tenant_id = :t AND state = 'waiting'"
    await seed.change(worker, over, t=seeded.tenant_id)
    await Rounds(worker, KeeperSettings(batch=1), metrics).round()
    parked = "SELECT concat_ws(' ', state, reason) FROM jobs WHERE id = ANY(:j)"
    assert await seed.column(worker, parked, j=[one.job_id for one in twins]) == ["waiting twin"] * len(twins)


async def test_a_breaker_over_very_many_jobs_holds_up_nobodys_lease(worker, seed, seeded, metrics):
    """What it holds back is moved a few batches a round, after what was lost with a worker has gone to another."""
    await expire(worker, seed, await claim(worker, seeded))
    full = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=full)
    for _ in range(20):
        await seed.upload(worker, full)
    async with worker.transaction() as connection:
        await breakers.set_breaker(connection, full, held=True, actor="t")
    await Rounds(worker, KeeperSettings(batch=1, lease_s=0.01), metrics).round()
    held = "SELECT xmin::text::bigint FROM jobs WHERE tenant_id = :t AND reason = 'breaker'"
    parked = await seed.column(worker, held, t=full)
    assert len(parked) == rules._MOST_HELD_BATCHES
    again = "SELECT xmin::text::bigint FROM jobs WHERE id = :j AND state = 'queued' AND deaths = 1"
    (taken,) = await seed.column(worker, again, j=seeded.job_id)
    assert taken < min(parked)


@pytest.fixture
async def lost(worker, seed, seeded):
    """A job that took too many workers with it, as the keeper has found it."""
    job = await claim(worker, seeded)
    await expire(worker, seed, job)
    async with worker.transaction() as connection:
        found = await keeper.lost_jobs(connection, batch=500, max_deaths=1, lease_s=0)
    return next(one for one in found if one.job_id == job.job_id)


async def test_a_lost_job_whose_tenant_was_removed_meanwhile_is_somebody_elses(worker, seed, seeded, lost):
    await seed.change(worker, "DELETE FROM tenants WHERE id = :t", t=seeded.tenant_id)
    with pytest.raises(jobs.FencedError):
        async with worker.transaction() as connection:
            await keeper.bury_lost(connection, lost)


async def test_a_lost_job_that_has_met_its_bytes_meanwhile_is_left_to_the_next_round(worker, seed, seeded, lost):
    await seed.change(worker, "UPDATE jobs SET content_sha256 = :s WHERE id = :j", s=bytes(32), j=lost.job_id)
    with pytest.raises(jobs.FencedError):
        async with worker.transaction() as connection:
            await keeper.bury_lost(connection, lost)


async def test_a_lost_job_is_not_blamed_on_its_input(worker, seed, seeded, metrics):
    """It counts against the success of jobs; what a file is to blame for does not."""
    await expire(worker, seed, await claim(worker, seeded))
    await Rounds(worker, KeeperSettings(max_deaths=1, lease_s=0.01), metrics).round()
    assert await seed.column(worker, "SELECT state FROM jobs WHERE id = :j", j=seeded.job_id) == ["failed"]
    ended = {"stage": "image.primary", "outcome": "failed"}
    permanent, transient = (
        metrics.registry.get_sample_value(JOBS_FINISHED.name, ended | {"error_class": name})
        for name in ("permanent", "transient")
    )
    assert permanent is None
    assert transient >= 1


async def test_a_postgres_that_has_just_started_finds_no_lease_over(worker, seed, seeded, metrics):
    """Whoever lives has not had the time to renew: neither is a death counted nor a job given up."""
    job = await claim(worker, seeded)
    await expire(worker, seed, job)
    longer_than_it_runs, state = 1e9, "SELECT concat_ws(' ', state, deaths) FROM jobs WHERE id = :j"
    for deaths in (1, 3):
        await Rounds(worker, KeeperSettings(max_deaths=deaths, lease_s=longer_than_it_runs), metrics).round()
        assert await seed.column(worker, state, j=job.job_id) == ["running 0"]
    async with worker.transaction() as connection:
        guarded = {"batch": 500, "lease_s": longer_than_it_runs}
        assert await keeper.emit_expired(connection, max_deaths=3, **guarded) == 0
        assert await keeper.lost_jobs(connection, max_deaths=1, **guarded) == []
    await Rounds(worker, KeeperSettings(lease_s=0.01), metrics).round()
    assert await seed.column(worker, state, j=job.job_id) == ["queued 1"]


async def test_after_the_database_was_away_no_lease_is_over_until_one_has_passed(worker, seed, seeded, metrics):
    """Also where it did not start anew: a standby was promoted, or the network was cut."""

    class Flaky:
        """The real database, after two refusals as of a lost one."""

        transaction, refusals = worker.transaction, 2

        async def time(self, **how):
            if self.refusals:
                self.refusals -= 1
                raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
            return await worker.time(**how)

    job = await claim(worker, seeded)
    await expire(worker, seed, job)
    rounds = Rounds(Flaky(), KeeperSettings(lease_s=70), metrics)
    for _ in range(4):
        await rounds.grace.ask()
        await rounds.round()
    state = "SELECT concat_ws(' ', state, deaths) FROM jobs WHERE id = :j"
    assert await seed.column(worker, state, j=job.job_id) == ["running 0"]
    await Rounds(worker, KeeperSettings(lease_s=0.01), metrics).round()
    assert await seed.column(worker, state, j=job.job_id) == ["queued 1"]
