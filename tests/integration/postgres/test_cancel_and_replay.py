"""Cancel, delete, replay: each ends or reopens an asset in one transaction, and fences whoever works on it."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from support import protocol

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.database import Database
from connectors.postgres.protocol import cancel, jobs, keeper, letters, replay
from connectors.postgres.protocol.content import Role
from connectors.postgres.protocol.jobs import FencedError
from connectors.postgres.protocol.letters import Chosen
from schemas.details import Facts
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.profiles import CATALOGUE, DEFAULT_PROFILES
from schemas.records import Origin
from schemas.settings import DatabaseSettings
from schemas.states import JobClass

EVER = replay.Place(datetime(2000, 1, 1, tzinfo=UTC))
FACTS = Facts(width=4, height=3)
THUMBNAIL = next(profile for profile in DEFAULT_PROFILES if profile.name == "thumbnail")


def sha_of(seeded):
    return seeded.asset_id.bytes * 2


async def claim(worker, record, origin=None):
    async with worker.transaction() as connection:
        return await protocol.claim(connection, record, origin=origin)


async def join(worker, job, sha256):
    async with worker.transaction() as connection:
        return await protocol.join(connection, job, sha256)


async def finish(worker, job, sha256, variants=()):
    async with worker.transaction() as connection:
        await protocol.finish(connection, job, sha256, variants=variants)


async def fail(worker, job, sha256=None, code=ErrorCode.CORRUPT):
    async with worker.transaction() as connection:
        await protocol.fail(connection, job, sha256=sha256, code=code)


async def stop(worker, seeded, act=cancel.cancel_asset):
    async with worker.transaction() as connection:
        return await act(connection, seeded.tenant_id, seeded.asset_id, actor="a@b")


async def reopen(worker, seeded, **more):
    async with worker.transaction() as connection:
        return await replay.replay_asset(connection, seeded.asset_id, reason="test", job_class=JobClass.PRIMARY, **more)


async def state(worker, seed, seeded):
    statement = """SELECT concat_ws(' ', a.state, a.generation, string_agg(concat(j.generation, ':', j.state), ' '
        ORDER BY j.generation)) FROM assets a JOIN jobs j ON j.asset_id = a.id WHERE a.id = :a GROUP BY a.id"""
    return (await seed.column(worker, statement, a=seeded.asset_id))[0]


async def events(worker, seed, seeded):
    statement = "SELECT type FROM asset_events WHERE asset_id = :a ORDER BY seq"
    return await seed.column(worker, statement, a=seeded.asset_id)


@pytest.mark.parametrize(
    ("act", "word"), [(cancel.cancel_asset, "cancelled"), (cancel.delete_asset, "deleted")], ids=["cancel", "delete"]
)
async def test_it_stops_the_running_child_by_its_fence(worker, seed, seeded, act, word):
    job = await claim(worker, seeded.dispatch())
    assert await stop(worker, seeded, act) == 1
    assert await state(worker, seed, seeded) == f"{word} 1 1:cancelled"
    async with worker.transaction() as connection:
        assert await jobs.heartbeat(connection, [(job.job_id, job.epoch)], lease_s=60) == set()
    for end in (finish(worker, job, sha_of(seeded)), fail(worker, job)):
        with pytest.raises(FencedError):
            await end
    assert await events(worker, seed, seeded) == ["job.started", f"asset.{word}"]
    assert await claim(worker, seeded.dispatch()) is None
    (action,) = await seed.column(worker, "SELECT action FROM audit_log WHERE subject = :s", s=str(seeded.asset_id))
    assert action == f"asset.{act.__name__.removesuffix('_asset')}"


async def test_a_replay_passes_the_credit_of_what_it_ends_on(worker, seed):
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=tenant_id)
    made, waiting = await seed.upload(worker, tenant_id), await seed.upload(worker, tenant_id)
    # As with a further stage that still runs.
    await seed.change(worker, "UPDATE assets SET state = 'ready' WHERE id = :a", a=made.asset_id)
    await reopen(worker, made)
    states = "SELECT concat_ws(' ', state, reason) FROM jobs WHERE asset_id = :a ORDER BY generation"
    assert await seed.column(worker, states, a=waiting.asset_id) == ["queued"]
    assert await seed.column(worker, states, a=made.asset_id) == ["cancelled", "waiting credit"]


async def test_what_is_over_is_not_cancelled_and_what_is_gone_is_not_found(worker, seed, seeded):
    await fail(worker, await claim(worker, seeded.dispatch()))
    with pytest.raises(MedialaneError) as caught:
        await stop(worker, seeded)
    assert caught.value.code is ErrorCode.CONFLICT
    await stop(worker, seeded, cancel.delete_asset)
    for act in (cancel.cancel_asset, cancel.delete_asset):
        with pytest.raises(MedialaneError) as caught:
            await stop(worker, seeded, act)
        assert caught.value.code is ErrorCode.NOT_FOUND
    stranger = seeded._replace(tenant_id=await seed.tenant(worker))
    with pytest.raises(MedialaneError):
        await stop(worker, stranger, cancel.delete_asset)


async def test_the_api_role_may_cancel_and_delete_its_own(worker, database, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await join(worker, job, sha_of(seeded))
    twin = await seed.asset(worker, seeded.tenant_id)
    await join(worker, await claim(worker, twin.dispatch()), sha_of(seeded))
    async with Database(DatabaseSettings(url=database.app), application="test") as app:
        for one, act in ((seeded, cancel.cancel_asset), (twin, cancel.delete_asset)):
            async with app.tenant(seeded.tenant_id) as connection:
                assert await act(connection, one.tenant_id, one.asset_id, actor="mp_1") == 1


async def test_a_cancelled_leader_hands_the_lead_to_its_twin_and_its_credit_on(worker, seed, seeded):
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=seeded.tenant_id)
    leader = await claim(worker, seeded.dispatch())
    await join(worker, leader, sha_of(seeded))
    twin = await seed.asset(worker, seeded.tenant_id)
    await join(worker, await claim(worker, twin.dispatch()), sha_of(seeded))
    await stop(worker, seeded)
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    heir = await claim(worker, twin.dispatch(2))
    assert (await join(worker, heir, sha_of(seeded))).role is Role.LEADER


async def test_cancel_and_finish_at_once_have_one_winner(worker, seed, seeded):
    for _ in range(10):
        made = await seed.asset(worker, seeded.tenant_id)
        job = await claim(worker, made.dispatch())
        await join(worker, job, sha_of(made))
        ended = await asyncio.gather(finish(worker, job, sha_of(made)), stop(worker, made), return_exceptions=True)
        assert sum(isinstance(one, Exception) for one in ended) == 1
        assert await state(worker, seed, made) in ("ready 1 1:done", "cancelled 1 1:cancelled")
        assert len(await events(worker, seed, made)) in (2, 3)


async def test_a_replay_opens_a_new_generation_once(worker, seed, seeded):
    await fail(worker, await claim(worker, seeded.dispatch()), sha_of(seeded))
    done = await asyncio.gather(*(reopen(worker, seeded, generation=1) for _ in range(4)), return_exceptions=True)
    (job_id,) = [one for one in done if isinstance(one, UUID)]
    assert {one.code for one in done if one is not job_id} == {ErrorCode.CONFLICT}
    assert await state(worker, seed, seeded) == "uploaded 2 1:failed 2:queued"
    assert await claim(worker, seeded.dispatch()) is None, "a record of the old generation claims nothing"
    job = await claim(worker, seeded._replace(job_id=job_id).dispatch())
    assert (await join(worker, job, sha_of(seeded))).role is Role.LEADER
    types = await events(worker, seed, seeded)
    assert types == ["job.started", "job.failed", "asset.failed", "asset.reopened", "job.starting", "job.started"]


async def test_bytes_that_failed_for_good_are_tried_again_by_a_replay(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await join(worker, job, sha_of(seeded))
    await fail(worker, job, sha_of(seeded))
    again = await claim(worker, seeded._replace(job_id=await reopen(worker, seeded)).dispatch())
    assert again.content_sha256 == sha_of(seeded)
    assert (await join(worker, again, sha_of(seeded))).role is Role.LEADER
    await finish(worker, again, sha_of(seeded))
    assert await state(worker, seed, seeded) == "ready 2 1:failed 2:done"


async def test_a_zombie_of_the_old_generation_changes_nothing(worker, seed, seeded):
    zombie = await claim(worker, seeded.dispatch())
    await stop(worker, seeded)
    job_id = await reopen(worker, seeded)
    with pytest.raises(FencedError):
        await finish(worker, zombie, sha_of(seeded))
    job = await claim(worker, seeded._replace(job_id=job_id).dispatch())
    await join(worker, job, sha_of(seeded))
    await finish(worker, job, sha_of(seeded))
    assert await state(worker, seed, seeded) == "ready 2 1:cancelled 2:done"


@pytest.mark.parametrize("when", ["pending", "uploaded", "processing"])
async def test_what_is_under_way_is_not_replayed(worker, seed, seeded, when):
    await seed.change(worker, "UPDATE assets SET state = :s WHERE id = :a", s=when, a=seeded.asset_id)
    with pytest.raises(MedialaneError) as caught:
        await reopen(worker, seeded)
    assert caught.value.code is ErrorCode.CONFLICT


async def test_a_letter_says_where_it_came_from_and_is_replayed_once(worker, seed, seeded):
    origin = Origin("media.jobs.image", 3, 77, "media-media-images")
    await fail(worker, await claim(worker, seeded.dispatch(), origin), sha_of(seeded))
    headers = await seed.column(
        worker,
        "SELECT concat_ws('|', error_topic, error_kpart, error_koffset, error_group, error_count, error_message,"
        " error_code, error_attempts) FROM outbox WHERE aggregatetype = 'jobs.dlq' AND aggregateid = :j",
        j=str(seeded.job_id),
    )
    assert headers == ["media.jobs.image|3|77|media-media-images|1|no|corrupt|1"]

    mine = Chosen(tenant_id=seeded.tenant_id)
    async with worker.transaction() as connection:
        (letter,) = await letters.list_letters(connection, mine, limit=10)
        await letters.replay_job(connection, letter, actor="a@b")
    with pytest.raises(MedialaneError):
        async with worker.transaction() as connection:
            await letters.replay_job(connection, letter, actor="a@b")
    async with worker.transaction() as connection:
        assert await letters.list_letters(connection, mine, limit=10) == ()
        everything = msgspec.structs.replace(mine, replayed=True)
        (group,) = await letters.count_letters(connection, everything)
        assert (group.code, group.letters) == ("corrupt", 1)
        assert await letters.purge_letters(connection, mine, limit=10, actor="a@b") == 0
        assert await letters.purge_letters(connection, everything, limit=10, actor="a@b") == 1
    actions = await seed.column(
        worker, "SELECT action FROM audit_log WHERE tenant_id = :t ORDER BY id", t=seeded.tenant_id
    )
    assert actions == ["dlq.replay", "dlq.purge"]


async def test_letters_are_chosen_by_tenant_code_and_age(worker, seed, seeded):
    other = await seed.asset(worker, await seed.tenant(worker))
    await fail(worker, await claim(worker, seeded.dispatch()))
    await fail(worker, await claim(worker, other.dispatch()), code=ErrorCode.TRUNCATED)
    now = datetime.now(UTC)
    await seed.change(
        worker, "UPDATE dead_letters SET created_at = now() - interval '1 day' WHERE job_id = :j", j=other.job_id
    )

    async def chosen(**conditions):
        async with worker.transaction() as connection:
            found = await letters.list_letters(connection, Chosen(**conditions), limit=1000)
        return {one.job_id for one in found} & {seeded.job_id, other.job_id}

    hour_ago = datetime.fromtimestamp(now.timestamp() - 3600, UTC)
    assert await chosen() == {seeded.job_id, other.job_id}
    assert await chosen(tenant_id=other.tenant_id) == {other.job_id}
    assert await chosen(code="truncated") == {other.job_id}
    assert await chosen(before=hour_ago) == {other.job_id}
    assert await chosen(since=hour_ago) == {seeded.job_id}
    assert await chosen(ids=(uuid7(),)) == set()


async def look(worker, seeded, profile, *, place=EVER, look_at=10):
    async with worker.transaction() as connection:
        return await replay.assets_behind(connection, seeded.tenant_id, profile, place=place, look_at=look_at)


async def test_what_lacks_a_profile_is_found_and_is_bulk_when_reopened(worker, seed, seeded):
    job = await claim(worker, seeded.dispatch())
    await join(worker, job, sha_of(seeded))
    old = NewVariant(
        profile="thumbnail", profile_version=0, content_sha256=sha_of(seeded), object_key="k", content_type="image/webp",
        format="webp", width=1, height=1, duration_s=None, size=1, sha256=sha_of(seeded),
    )  # fmt: skip
    await finish(worker, job, sha_of(seeded), [old])

    async def behind():
        return (await look(worker, seeded, THUMBNAIL)).assets

    assert await behind() == (seeded.asset_id,)
    naming = "UPDATE assets SET profiles = CAST(:names AS text[]) WHERE id = :id"
    await seed.change(worker, naming, names=["display_small"], id=seeded.asset_id)
    assert await behind() == (), "its upload named others: nothing is missing"
    await seed.change(worker, naming, names=["display_small", "thumbnail"], id=seeded.asset_id)
    assert await behind() == (seeded.asset_id,)
    async with worker.transaction() as connection:
        job_id = await replay.replay_asset(connection, seeded.asset_id, reason="r", job_class=JobClass.BULK)
    assert await behind() == ()
    again = await claim(worker, seeded._replace(job_id=job_id).dispatch())
    assert again.job_class is JobClass.BULK
    assert (await join(worker, again, sha_of(seeded))).role is Role.REUSE
    await finish(worker, again, sha_of(seeded), [msgspec.structs.replace(old, profile_version=THUMBNAIL.version)])
    assert await behind() == ()
    assert await state(worker, seed, seeded) == "ready 2 1:done 2:done"


@pytest.mark.parametrize(("details", "lacks"), [('{"frames": 1}', False), ('{"frames": 3}', True), (None, False)])
async def test_a_still_picture_lacks_no_animation(worker, seed, seeded, details, lacks):
    await finish(worker, await claim(worker, seeded.dispatch()), sha_of(seeded))
    await seed.change(
        worker, "UPDATE assets SET details = CAST(:d AS jsonb) WHERE id = :a", d=details, a=seeded.asset_id
    )
    found = await look(worker, seeded, CATALOGUE["animation"])
    assert found.assets == (seeded.asset_id,) * lacks


async def test_what_is_behind_is_found_in_pages_of_what_was_looked_at(worker, seed, seeded):
    made = [seeded, *[await seed.asset(worker, seeded.tenant_id) for _ in range(4)]]
    for one in (made[2], made[4]):
        await finish(worker, await claim(worker, one.dispatch()), sha_of(one))
    pages, place = [], EVER
    while place is not None:
        found = await look(worker, seeded, THUMBNAIL, place=place, look_at=2)
        pages.append(found.assets)
        place = found.next
    assert pages == [(), (made[2].asset_id,), (made[4].asset_id,), ()]
    (at,) = await seed.column(worker, "SELECT created_at FROM assets WHERE id = :a", a=made[4].asset_id)
    assert (await look(worker, seeded, THUMBNAIL, place=replay.Place(at))).assets == (made[4].asset_id,)
