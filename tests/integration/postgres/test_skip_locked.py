"""A row that somebody has locked makes no rule of the keeper wait: it is passed over, and the others are moved."""

from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from connectors.postgres.assets import purge
from connectors.postgres.protocol import breakers, keeper
from connectors.postgres.protocol import credits as credit
from schemas.settings import BreakerSettings
from schemas.states import Stage

JOBS = {
    "due": "state = 'waiting', reason = 'retry', due_at = now() - interval '1 minute'",
    "expired": "state = 'running', lease_until = now() - interval '1 minute'",
    "unclaimed": "next_emit_at = now() - interval '1 minute'",
    "credit": "state = 'waiting', reason = 'credit'",
    "breaker": "state = 'waiting', reason = 'breaker'",
    "twin": "state = 'waiting', reason = 'twin', due_at = now() - interval '1 minute'",
    "leader": "state = 'running', lease_until = now() + interval '1 day'",
    "done": "state = 'done', finished_at = now()",
}
BREAKER = """
    INSERT INTO breakers (tenant_id, state, probe_job_id, retry_at)
    VALUES (:t, :state, :probe, now() - interval '1 minute')
"""
STATE = "SELECT concat_ws(' ', state, reason, emissions, due_at > now()) FROM jobs WHERE id = :id"


@asynccontextmanager
async def locked(worker, table, key, value):
    async with worker.transaction() as connection:
        await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await connection.execute(sa.text(f"SELECT FROM {table} WHERE {key} = :v FOR NO KEY UPDATE"), {"v": value})
        yield


async def apply(worker, rule):
    """Run a rule that may not wait: whoever waits for a lock fails."""
    async with worker.transaction() as connection:
        await connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
        return await rule(connection)


@pytest.fixture
def put(worker, seed):
    """Set jobs to one of the states above."""

    async def put(what, *made):
        for one in made:
            await seed.change(worker, f"UPDATE jobs SET {JOBS[what]} WHERE id = :j", j=one.job_id)

    return put


@pytest.fixture
async def pair(worker, seed):
    """Two jobs of one tenant, of which the first is locked."""
    tenant_id = await seed.tenant(worker)
    return [await seed.asset(worker, tenant_id) for _ in range(2)]


RULES = {
    "due": ("due", lambda c, _: keeper.emit_due(c, batch=10), "queued 1"),
    "expired": ("expired", lambda c, _: keeper.emit_expired(c, batch=10, max_deaths=3, lease_s=0), "queued 1"),
    "unclaimed": ("unclaimed", lambda c, _: keeper.emit_unclaimed(c, batch=10), "queued 2"),
    "mend": ("credit", lambda c, _: credit.mend(c, batch=10), "queued 1"),
    "pass on": ("credit", lambda c, tenant: credit.pass_on(c, tenant, Stage.IMAGE_PRIMARY), "queued 1"),
    "let go": ("breaker", lambda c, _: breakers.let_go(c, batch=10), "waiting credit 1"),
}


@pytest.mark.parametrize(("what", "rule", "then"), RULES.values(), ids=RULES)
async def test_other_jobs_are_moved(worker, seed, pair, put, what, rule, then):
    await put(what, *pair)
    (before,) = await seed.column(worker, STATE, id=pair[0].job_id)
    async with locked(worker, "jobs", "id", pair[0].job_id):
        await apply(worker, lambda connection: rule(connection, pair[0].tenant_id))
        states = [(await seed.column(worker, STATE, id=one.job_id))[0] for one in pair]
    assert states == [before, then]


async def test_other_jobs_are_held_back(worker, seed, pair):
    await seed.change(worker, BREAKER, t=pair[0].tenant_id, state="open", probe=None)
    async with locked(worker, "jobs", "id", pair[0].job_id):
        await apply(worker, lambda connection: breakers.park(connection, batch=10))
        states = [(await seed.column(worker, STATE, id=one.job_id))[0] for one in pair]
    assert states == ["queued 1", "waiting breaker 1"]


async def test_another_job_is_tried(worker, seed, pair, put):
    await put("breaker", *pair)
    await seed.change(worker, BREAKER, t=pair[0].tenant_id, state="open", probe=None)
    async with locked(worker, "jobs", "id", pair[0].job_id):
        await apply(worker, breakers.probe)
        states = [(await seed.column(worker, STATE, id=one.job_id))[0] for one in pair]
    assert states == ["waiting breaker 1", "queued 1"]


@pytest.mark.parametrize(
    ("state", "what", "rule", "then"),
    [
        ("open", "breaker", breakers.probe, "half_open"),
        ("half_open", "done", lambda connection: breakers.judge_probes(connection, BreakerSettings()), "closed"),
    ],
    ids=["probe", "judge"],
)
async def test_other_breakers_are_moved(worker, seed, put, state, what, rule, then):
    both = [await seed.asset(worker, await seed.tenant(worker)) for _ in range(2)]
    await put(what, *both)
    for one in both:
        probe = one.job_id if what == "done" else None
        await seed.change(worker, BREAKER, t=one.tenant_id, state=state, probe=probe)
    async with locked(worker, "breakers", "tenant_id", both[0].tenant_id):
        await apply(worker, rule)
        states = [
            (await seed.column(worker, "SELECT state FROM breakers WHERE tenant_id = :t", t=one.tenant_id))[0]
            for one in both
        ]
    assert states == [state, then]


@pytest.mark.parametrize("what", ["jobs", "content"])
async def test_other_twins_sleep_on(worker, seed, put, what):
    """Beside a twin that is locked, which is left alone; or while the content is, whose end wakes them afterwards."""
    tenant_id, sha256 = await seed.tenant(worker), seed.uuid7().bytes * 2
    leader, *twins = [await seed.asset(worker, tenant_id) for _ in range(3)]
    await put("leader", leader)
    await put("twin", *twins)
    of_it = "UPDATE jobs SET content_sha256 = :s WHERE tenant_id = :t"
    await seed.change(worker, of_it, s=sha256, t=tenant_id)
    await seed.change(
        worker,
        "INSERT INTO content (tenant_id, sha256, state, leader_job_id) VALUES (:t, :s, 'open', :j)",
        t=tenant_id, s=sha256, j=leader.job_id,
    )  # fmt: skip
    key, value = ("id", twins[0].job_id) if what == "jobs" else ("sha256", sha256)
    async with locked(worker, what, key, value):
        await apply(worker, lambda connection: keeper.emit_due(connection, batch=10))
        states = [(await seed.column(worker, STATE, id=one.job_id))[0] for one in twins]
    assert states == ["waiting twin 1 f" if what == "jobs" else "waiting twin 1 t", "waiting twin 1 t"]


async def test_an_asset_that_somebody_else_removes_is_left_to_them(worker, seed, pair):
    deleted = "UPDATE assets SET state = 'deleted', deleted_at = now() WHERE tenant_id = :t"
    await seed.change(worker, deleted, t=pair[0].tenant_id)
    async with locked(worker, "assets", "id", pair[0].asset_id):
        assert await apply(worker, lambda connection: purge.begin(connection, pair[0].asset_id)) is None
        assert await apply(worker, lambda connection: purge.begin(connection, pair[1].asset_id)) is not None
