"""Stages that follow a primary one: made with its end, twins of their own, and no say in the asset's state."""

import sqlalchemy as sa
from support import protocol

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.protocol import keeper
from connectors.postgres.protocol.content import Role
from schemas.details import Details, Facts
from schemas.errors import ErrorCode
from schemas.records import Dispatch
from schemas.states import Stage

SHA = bytes(range(32))
FACTS = Facts(width=40, height=30, details=Details(format="jpeg", orientation=6, thumbhash="aGFzaA=="))
AVIF = Stage.IMAGE_AVIF


async def claim(database, record):
    async with database.transaction() as connection:
        return await protocol.claim(connection, record, lease_s=3600)


async def join(database, job):
    async with database.transaction() as connection:
        return await protocol.join(connection, job, SHA)


async def finish(database, job, variants=(), follow=()):
    async with database.transaction() as connection:
        await protocol.finish(connection, job, SHA, variants=variants, facts=FACTS, follow=follow)


async def fail(database, job, code=ErrorCode.CORRUPT):
    async with database.transaction() as connection:
        await protocol.fail(connection, job, sha256=SHA, code=code)


async def primary_done(database, seeded, number=1):
    """Finish an asset's primary job; returns its claimed AVIF job."""
    job = await claim(database, seeded.dispatch(number))
    await join(database, job)
    await finish(database, job, follow=[AVIF])
    return await claim_secondary(database, seeded)


async def claim_secondary(database, seeded):
    async with database.transaction() as connection:
        query = sa.text("SELECT id, dispatch FROM jobs WHERE asset_id = :id AND stage = :stage")
        row = (await connection.execute(query, {"id": seeded.asset_id, "stage": AVIF})).one()
    return await claim(
        database,
        Dispatch(
            job_id=row.id, tenant_id=seeded.tenant_id, asset_id=seeded.asset_id, stage=AVIF, dispatch=row.dispatch
        ),
    )


async def one(database, statement, **values):
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(statement), values)).mappings().one()


async def events(database, seeded, seed):
    statement = "SELECT concat_ws(' ', type, nullif(subject, '')) FROM asset_events WHERE asset_id = :a ORDER BY seq"
    return await seed.column(database, statement, a=seeded.asset_id)


def variant(profile):
    return NewVariant(
        profile=profile, profile_version=1, content_sha256=SHA, object_key=f"media/{profile}", content_type="image/avif",
        format="avif", width=4, height=3, duration_s=None, size=9, sha256=SHA,
    )  # fmt: skip


async def test_a_primary_ends_with_what_was_found_out_and_the_job_that_follows(worker, seed, seeded):
    secondary = await primary_done(worker, seeded)
    assert (secondary.stage, secondary.content_sha256, secondary.attempts) == (AVIF, SHA, 0)
    row = await one(worker, "SELECT turn_at > now() AS yields, topic FROM jobs WHERE id = :id", id=secondary.job_id)
    assert (row.yields, row.topic) == (True, "jobs.image")
    assert await events(worker, seeded, seed) == [
        "job.started image.primary", "job.done image.primary", "asset.ready",
        "job.starting image.avif", "job.started image.avif",
    ]  # fmt: skip
    asset = await one(worker, "SELECT state, width, details FROM assets WHERE id = :id", id=seeded.asset_id)
    details = {"format": "jpeg", "orientation": 6, "thumbhash": "aGFzaA=="}
    assert (asset.state, asset.width, asset.details) == ("ready", 40, details)


async def test_a_secondary_stage_announces_its_variants_and_leaves_the_asset_alone(worker, seed, seeded):
    secondary = await primary_done(worker, seeded)
    before = await one(worker, "SELECT state, finished_at FROM assets WHERE id = :id", id=seeded.asset_id)
    assert (await join(worker, secondary)).role is Role.LEADER
    await finish(worker, secondary, [variant("display_large_avif")])
    assert await one(worker, "SELECT state, finished_at FROM assets WHERE id = :id", id=seeded.asset_id) == before
    assert (await events(worker, seeded, seed))[-2:] == ["variant.ready display_large_avif", "job.done image.avif"]


async def test_a_secondary_stage_that_fails_is_a_dead_letter_and_the_asset_stays_ready(worker, seed, seeded):
    secondary = await primary_done(worker, seeded)
    await join(worker, secondary)
    await fail(worker, secondary)
    assert (await one(worker, "SELECT state FROM assets WHERE id = :id", id=seeded.asset_id)).state == "ready"
    assert (await events(worker, seeded, seed))[-1] == "job.failed image.avif"
    letters = await seed.column(worker, "SELECT code FROM dead_letters WHERE asset_id = :a", a=seeded.asset_id)
    assert letters == ["corrupt"]


async def test_a_secondary_stage_is_done_once_for_the_same_bytes(worker, seed, seeded):
    twin = await seed.asset(worker, seeded.tenant_id)
    first, second = await primary_done(worker, seeded), await primary_done(worker, twin)
    assert (await join(worker, first)).role is Role.LEADER
    assert (await join(worker, second)).role is Role.TWIN
    await finish(worker, first, [variant("display_large_avif")])
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    assert (await join(worker, await claim_secondary(worker, twin))).role is Role.REUSE


async def test_twins_of_either_kind_sleep_on_while_their_leader_works(worker, seed, seeded):
    lead = await claim(worker, seeded.dispatch())
    await join(worker, lead)
    others = [await seed.asset(worker, seeded.tenant_id) for _ in range(2)]
    for twin in others:
        assert (await join(worker, await claim(worker, twin.dispatch()))).role is Role.TWIN

    async def look_again():
        """The twins' time has come: how many sleep on, and how many go."""
        over = "UPDATE jobs SET due_at = now() WHERE tenant_id = :t AND state = 'waiting'"
        await seed.change(worker, over, t=seeded.tenant_id)
        async with worker.transaction() as connection:
            moved = await keeper.emit_due(connection, batch=10)
        on = "SELECT count(*) FROM jobs WHERE tenant_id = :t AND state = 'waiting' AND reason = 'twin' AND due_at > now()"
        (asleep,) = await seed.column(worker, on, t=seeded.tenant_id)
        return asleep, moved - asleep

    assert await look_again() == (2, 0)
    await finish(worker, lead)
    assert await look_again() == (0, 2)
    first, second = [await primary_done(worker, one, 2) for one in others]
    await join(worker, first)
    assert (await join(worker, second)).role is Role.TWIN
    assert await look_again() == (1, 0)
    gone = "UPDATE jobs SET state = 'cancelled', lease_until = NULL WHERE id = :j"
    await seed.change(worker, gone, j=first.job_id)
    assert await look_again() == (0, 1), "its leader has gone without a word"


async def test_twins_of_a_secondary_stage_share_its_fate(worker, seed, seeded):
    twin = await seed.asset(worker, seeded.tenant_id)
    first, second = await primary_done(worker, seeded), await primary_done(worker, twin)
    await join(worker, first)
    await fail(worker, first)
    decision = await join(worker, second)
    assert (decision.role, decision.code) == (Role.DOOMED, ErrorCode.CORRUPT)
    await seed.change(worker, "UPDATE content_stages SET reader = NULL WHERE tenant_id = :t", t=seeded.tenant_id)
    assert (await join(worker, second)).role is Role.LEADER, "it failed at the hands of a release that read less"
    third = await seed.asset(worker, seeded.tenant_id)
    job = await claim(worker, third.dispatch())
    assert (await join(worker, job)).role is Role.REUSE, "the primary stage of these bytes did not fail"


async def test_a_lost_secondary_job_hands_over_to_its_twin(worker, seed, seeded):
    twin = await seed.asset(worker, seeded.tenant_id)
    first, second = await primary_done(worker, seeded), await primary_done(worker, twin)
    await join(worker, first)
    await join(worker, second)
    gone = "UPDATE jobs SET lease_until = now() - interval '1 s', deaths = 2 WHERE id = :j"
    await seed.change(worker, gone, j=first.job_id)
    async with worker.transaction() as connection:
        found = await keeper.lost_jobs(connection, batch=500, max_deaths=3, lease_s=0)
        await keeper.bury_lost(connection, next(lost for lost in found if lost.job_id == first.job_id))
    assert (await one(worker, "SELECT state FROM assets WHERE id = :id", id=seeded.asset_id)).state == "ready"
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    assert (await join(worker, await claim_secondary(worker, twin))).role is Role.LEADER
