"""A release that is being rolled out may make jobs of stages that this one does not know: they are passed on as they are,
and stand in nobody's way.
"""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from connectors.postgres.assets.lifecycle import find_uploads
from connectors.postgres.assets.views import list_assets, read_asset, read_state
from connectors.postgres.database import Database
from connectors.postgres.protocol import keeper
from connectors.postgres.protocol.cancel import cancel_asset, delete_asset
from connectors.postgres.protocol.completing import Completed, complete_assets
from connectors.postgres.protocol.credits import mend, pass_on
from connectors.postgres.protocol.replay import replay_asset
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings
from schemas.states import JobClass, Stage

LATER = "image.of-a-later-release"
FAR = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
async def newer(worker, seed):
    """A queued job of an unknown stage."""
    made = await seed.asset(worker, await seed.tenant(worker))
    await seed.change(worker, "UPDATE jobs SET stage = :stage WHERE id = :j", stage=LATER, j=made.job_id)
    return made


async def state(worker, seed, made):
    [found] = await seed.column(worker, "SELECT state FROM jobs WHERE id = :j", j=made.job_id)
    return found


async def stages_sent(worker, seed, made):
    statement = "SELECT payload::json->>'stage' FROM outbox WHERE aggregateid = :j AND aggregatetype = 'jobs.image'"
    return await seed.column(worker, statement, j=str(made.job_id))


async def test_what_was_not_claimed_is_emitted_again(worker, seed, newer):
    await seed.change(worker, "UPDATE jobs SET next_emit_at = now() WHERE id = :j", j=newer.job_id)
    async with worker.transaction() as connection:
        await keeper.emit_unclaimed(connection, batch=500)
    assert await stages_sent(worker, seed, newer) == [LATER]


@pytest.mark.parametrize("how", ["a finish", "the keeper"])
async def test_credit_goes_to_it(worker, seed, newer, how):
    await seed.change(
        worker, "UPDATE jobs SET state = 'waiting', reason = 'credit' WHERE id = :j", j=newer.job_id
    )  # fmt: skip
    async with worker.transaction() as connection:
        if how == "a finish":
            await pass_on(connection, newer.tenant_id, Stage.IMAGE_PRIMARY)
        else:
            await mend(connection, batch=500)
    assert await state(worker, seed, newer) == "queued"
    assert await stages_sent(worker, seed, newer) == [LATER]


async def test_one_that_lost_its_last_worker_is_left_to_the_keeper_that_knows_it(worker, seed, newer):
    await seed.change(
        worker,
        "UPDATE jobs SET state = 'running', lease_until = now() - interval '1 hour', deaths = 2 WHERE id = :j",
        j=newer.job_id,
    )
    async with worker.transaction() as connection:
        lost = await keeper.lost_jobs(connection, batch=500, max_deaths=3, lease_s=0)
    assert newer.job_id not in {job.job_id for job in lost}
    assert await state(worker, seed, newer) == "running"


async def test_those_that_are_left_to_it_stand_before_none_that_this_one_gives_up(worker, seed, newer):
    ours = await seed.asset(worker, newer.tenant_id)
    for made, years in ((newer, 10), (ours, 9)):
        statement = "UPDATE jobs SET state = 'running', lease_until = now() - :years * interval '1 year' WHERE id = :j"
        await seed.change(worker, statement, years=years, j=made.job_id)
    async with worker.transaction() as connection:
        lost = await keeper.lost_jobs(connection, batch=1, max_deaths=1, lease_s=0)
    assert [job.job_id for job in lost] == [ours.job_id]


async def test_its_asset_is_read(worker, newer):
    async with worker.transaction() as connection:
        view = await read_asset(connection, newer.tenant_id, newer.asset_id)
    assert [(job.stage, job.state) for job in view.jobs] == [(LATER, "queued")]


async def test_assets_and_jobs_in_states_of_a_later_release_are_read(database, seed, newer):
    owner = Database(DatabaseSettings(url=database.owner), application="test")
    async with owner, owner.transaction() as connection:
        for table, column in (("assets", "state"), ("assets", "kind"), ("jobs", "state")):
            loosened = f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check"
            await connection.execute(sa.text(loosened))
        change = "UPDATE assets SET state = 'checked', kind = 'model' WHERE id = :a"
        await connection.execute(sa.text(change), {"a": newer.asset_id})
        await connection.execute(sa.text("UPDATE jobs SET state = 'held' WHERE id = :j"), {"j": newer.job_id})
        view = await read_asset(connection, newer.tenant_id, newer.asset_id)
        (listed,) = await list_assets(connection, newer.tenant_id, limit=2)
        seen = await read_state(connection, newer.tenant_id, newer.asset_id)
        await connection.rollback()
    assert (view.asset.state, view.asset.kind, view.jobs[0].state) == ("checked", "model", "held")
    assert (listed.state, seen) == ("checked", "checked")


async def test_an_asset_of_a_later_releases_kind_is_refused_where_its_stage_is_chosen(database, newer, seed):
    """And no other that is completed, or found, together with it."""
    async with Database(DatabaseSettings(url=database.owner), application="test") as owner:
        other = await seed.asset(owner, newer.tenant_id)
        ids = [newer.asset_id, other.asset_id]
        async with owner.transaction() as connection:
            await connection.execute(sa.text("ALTER TABLE assets DROP CONSTRAINT assets_kind_check"))
            await connection.execute(sa.text("DELETE FROM jobs WHERE asset_id = ANY(:ids)"), {"ids": ids})
            change = "UPDATE assets SET state = :s, kind = CASE id WHEN :a THEN 'model' ELSE kind END"
            await connection.execute(sa.text(change), {"a": newer.asset_id, "s": "pending"})
            found = await find_uploads(connection, newer.tenant_id, ids)
            given = [Completed(asset_id, "etag", None) for asset_id in ids]
            done = await complete_assets(connection, newer.tenant_id, given)
            await connection.execute(sa.text(change), {"a": newer.asset_id, "s": "ready"})
            with pytest.raises(MedialaneError) as refused:
                await replay_asset(connection, newer.asset_id, reason="r", job_class=JobClass.SECONDARY)
            await connection.rollback()
    assert [upload.kind for upload in found] == ["model", "image"]
    assert done == [False, True]
    assert refused.value.code is ErrorCode.UNSUPPORTED_TYPE


@pytest.mark.parametrize("end", [cancel_asset, delete_asset])
async def test_its_asset_is_cancelled_and_deleted_and_what_it_held_goes_on(worker, seed, newer, end):
    """It leads its content's twin, which is of that stage, too, and holds the credit for which another job waits."""
    twin, other = [await seed.asset(worker, newer.tenant_id) for _ in range(2)]
    sha256 = uuid7().bytes * 2
    await seed.change(
        worker, "UPDATE jobs SET content_sha256 = :s, stage = :stage WHERE id IN (:j, :twin)",
        s=sha256, stage=LATER, j=newer.job_id, twin=twin.job_id,
    )  # fmt: skip
    waits = "UPDATE jobs SET state = 'waiting', reason = :reason, due_at = :due WHERE id = :j"
    await seed.change(worker, waits, reason="twin", due=FAR, j=twin.job_id)
    await seed.change(worker, waits, reason="credit", due=None, j=other.job_id)
    await seed.change(
        worker, """
        WITH of AS (INSERT INTO content (tenant_id, sha256, state, leader_job_id) VALUES (:t, :s, 'done', :j))
        INSERT INTO content_stages (tenant_id, sha256, stage, state, leader_job_id) VALUES (:t, :s, :stage, 'open', :j)
        """, t=newer.tenant_id, s=sha256, stage=LATER, j=newer.job_id,
    )  # fmt: skip
    async with worker.transaction() as connection:
        assert await end(connection, newer.tenant_id, newer.asset_id, actor="test") == 1
    assert await state(worker, seed, newer) == "cancelled"
    assert await state(worker, seed, other) == "queued"
    assert await seed.column(worker, "SELECT due_at <= now() FROM jobs WHERE id = :j", j=twin.job_id) == [True]
