"""Placement: what is emitted goes where its tenant is at that moment; an asset's events stay where they began."""

import asyncio
import datetime as dt
from functools import partial

import pytest
from support import protocol

from connectors.postgres import outbox
from connectors.postgres.assets import lifecycle as assets
from connectors.postgres.placement import placements
from connectors.postgres.placement.placements import PlacementError
from connectors.postgres.protocol import jobs, keeper
from schemas.events import AssetReopened, decode_event, encode_event
from schemas.ids import uuid7
from schemas.states import MediaKind

IMAGES = "jobs.image"


@pytest.fixture
async def tenant(worker, seed):
    return await seed.tenant(worker)


async def move(worker, tenant_id, *kparts, topic=IMAGES, **options):
    async with worker.transaction() as connection:
        return await placements.move(connection, tenant_id, topic, kparts, **options)


async def sent_to(worker, seed, subject):
    """The partitions of an outbox subject's records, in the order in which they were written."""
    return await seed.column(worker, "SELECT kpart FROM outbox WHERE aggregateid = :s ORDER BY id", s=str(subject))


async def test_a_hot_tenants_jobs_spread_over_its_buckets_by_asset(worker, seed, tenant):
    await move(worker, tenant, 1, 5, 6)
    made = [await seed.upload(worker, tenant) for _ in range(40)]
    places = [await sent_to(worker, seed, one.job_id) for one in made]
    assert {kpart for one in places for kpart in one} == {1, 5, 6}
    rows = [await seed.column(worker, "SELECT kpart FROM jobs WHERE id = :j", j=one.job_id) for one in made]
    assert rows == places, "the row remembers where its dispatch is"


async def test_an_events_text_and_time_arrive_as_they_are(worker, seed, tenant):
    made = await seed.upload(worker, tenant)
    reason = 'a"b\\c nul \x00 \x7f\x1f\u2028 \\u0000 {} ñ 日本 😀 :name %s %(x)s'
    await seed.change(worker, "UPDATE assets SET events_kpart = NULL WHERE id = :a", a=made.asset_id)
    async with worker.transaction() as connection:
        emission = outbox.Emission(made.asset_id, [partial(AssetReopened, reason=reason)], None)
        [recorded] = await outbox.take(connection, [emission])
        await outbox.record_all(connection, [recorded])
    [payload] = await seed.column(
        worker, "SELECT payload FROM outbox WHERE aggregateid = :a AND type = 'asset.reopened' AND kpart IS NULL",
        a=str(made.asset_id),
    )  # fmt: skip
    event = decode_event(payload)
    assert (event.reason, event.time) == (reason, recorded.numbered.now)
    assert encode_event(event).decode() == payload
    told = "SELECT payload FROM asset_events WHERE asset_id = :a AND seq = :s AND created_at = :t"
    assert await seed.column(worker, told, a=made.asset_id, s=event.seq, t=event.time) == [payload]


async def test_every_way_into_a_partition_takes_the_placement_of_the_moment(worker, seed, tenant):
    await move(worker, tenant, 0)
    made = await seed.upload(worker, tenant)
    await move(worker, tenant, 1)
    await seed.change(worker, "UPDATE jobs SET next_emit_at = now() WHERE id = :j", j=made.job_id)
    async with worker.transaction() as connection:
        assert await keeper.emit_unclaimed(connection, batch=10) == 1
    await move(worker, tenant, 2)
    async with worker.transaction() as connection:
        held = await protocol.claim(connection, made.dispatch())
        await jobs.release(connection, held)
    await move(worker, tenant, 3)
    async with worker.transaction() as connection:
        held = await protocol.claim(connection, made.dispatch(2))
        await jobs.wait(connection, held, delay_s=0, costs_attempt=False)
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=10) == 1
    assert await sent_to(worker, seed, made.job_id) == [0, 1, 2, 3]


async def test_an_assets_events_stay_on_the_partition_that_they_began_on(worker, seed, tenant):
    ids = [uuid7() for _ in range(12)]
    await move(worker, tenant, 2, 4, topic="events")
    for asset_id in ids:
        async with worker.transaction() as connection:
            made = assets.NewAsset(
                id=asset_id, kind=MediaKind.IMAGE, file_name="a.jpg", content_type="image/jpeg", size=1,
                object_key=f"uploads/{asset_id}", upload_expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
            )  # fmt: skip
            await assets.create_assets(connection, tenant, [made])
    await move(worker, tenant, 6, topic="events")
    for asset_id in ids:
        async with worker.transaction() as connection:
            await outbox.emit(connection, asset_id, [partial(AssetReopened, reason="test")], traceparent=None)
    seen = [tuple(await sent_to(worker, seed, asset_id)) for asset_id in ids]
    assert set(seen) == {(2, 2), (4, 4)}


async def test_a_move_says_what_was_there_and_refuses_what_cannot_be(worker, tenant):
    before = await move(worker, tenant, 7)
    assert len(before) == 1
    assert await move(worker, tenant, 3, 4, expected=[7]) == (7,)
    for kparts, said in (((8,), "partitions 0 to 7; 8 is not"), ((1, 1), "twice"), ((), "at least one")):
        with pytest.raises(PlacementError, match=said):
            await move(worker, tenant, *kparts)
    with pytest.raises(PlacementError, match=r"is on 3,4 of jobs\.image by now, not on 7"):
        await move(worker, tenant, 1, expected=[7])
    with pytest.raises(PlacementError, match="no confirmed partitions"):
        await move(worker, tenant, 1, topic="jobs.audio")
    with pytest.raises(PlacementError, match="there is no tenant"):
        await move(worker, uuid7(), 1)
    async with worker.transaction() as connection:
        (placed,) = [
            p for p in await placements.read_placements(connection) if (p.tenant_id, p.topic) == (tenant, IMAGES)
        ]
    assert placed.kparts == (3, 4)


async def test_of_two_movers_with_the_same_plan_one_is_told(worker, tenant):
    await move(worker, tenant, 0)
    ended = await asyncio.gather(*(move(worker, tenant, to, expected=[0]) for to in (1, 2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["PlacementError", "tuple"]


async def test_fewer_buckets_leave_nothing_behind(worker, seed, tenant):
    await move(worker, tenant, 1, 2, 3)
    await move(worker, tenant, 4)
    made = [await seed.upload(worker, tenant) for _ in range(8)]
    assert {tuple(await sent_to(worker, seed, one.job_id)) for one in made} == {(4,)}


async def test_without_a_placement_the_keys_hash_decides(worker, seed, tenant):
    await seed.change(worker, "DELETE FROM placements WHERE tenant_id = :t", t=tenant)
    made = await seed.upload(worker, tenant)
    assert await sent_to(worker, seed, made.job_id) == [None]
