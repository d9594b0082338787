"""Deleted assets and orphans on a real Postgres and a real S3 server: what nothing refers to goes, and nothing else."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from support import protocol
from support.objects import put

from connectors.postgres.assets import purge
from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.protocol import cancel
from connectors.postgres.protocol.content import Role
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Part
from schemas.ids import uuid7
from schemas.settings import KeeperSettings
from schemas.states import Stage
from streams.keeper.orphans import Orphans, Swept
from streams.keeper.purging import Purging


@pytest.fixture
def purging(worker, store, bucket_of_ours):
    return Purging(worker, store, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper"))


@pytest.fixture
def sweeping(worker, store, bucket_of_ours):
    return Orphans(worker, store, KeeperSettings(), Metrics(CollectorRegistry(), process="keeper"))


async def claimed(worker, seed, tenant_id, sha256):
    made = await seed.asset(worker, tenant_id)
    async with worker.transaction() as connection:
        job = await protocol.claim(connection, made.dispatch())
        decision = await protocol.join(connection, job, sha256)
    return made, job, decision


async def ready(worker, seed, store, tmp_path, tenant_id, sha256):
    """A ready asset with its source and one variant in the store."""
    made, job, _ = await claimed(worker, seed, tenant_id, sha256)
    key = f"{purge.content_prefix(tenant_id, sha256)}thumbnail.v1.webp"
    variant = NewVariant(
        profile="thumbnail", profile_version=1, content_sha256=sha256, object_key=key, content_type="image/webp",
        format="webp", width=1, height=1, duration_s=None, size=1, sha256=sha256,
    )  # fmt: skip
    (source,) = await seed.column(worker, "SELECT object_key FROM assets WHERE id = :a", a=made.asset_id)
    await put(store, tmp_path, source, key)
    async with worker.transaction() as connection:
        await protocol.finish(connection, job, sha256, variants=[variant])
    return made, source, key


async def delete(worker, seed, made, *, long_ago=True):
    async with worker.transaction() as connection:
        await cancel.delete_asset(connection, made.tenant_id, made.asset_id, actor="t")
    if long_ago:
        earlier = "UPDATE assets SET deleted_at = now() - interval '1 hour' WHERE id = :a"
        await seed.change(worker, earlier, a=made.asset_id)


async def there(store, *keys):
    return [await store.head(key) is not None for key in keys]


async def test_objects_stay_until_every_lease_must_be_over(worker, seed, store, tmp_path, purging):
    made, source, variant = await ready(worker, seed, store, tmp_path, await seed.tenant(worker), uuid7().bytes * 2)
    await delete(worker, seed, made, long_ago=False)
    assert await purging.purge() == 0
    assert await there(store, source, variant) == [True, True]


async def test_the_last_one_with_the_bytes_takes_their_objects_along(worker, seed, store, tmp_path, purging):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    first, source1, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    second, source2, _ = await ready(worker, seed, store, tmp_path, tenant, sha256)
    other, _, foreign = await ready(worker, seed, store, tmp_path, await seed.tenant(worker), sha256)
    await delete(worker, seed, first)
    await purging.purge()
    assert await there(store, source1, source2, variant) == [False, True, True]
    await delete(worker, seed, second)
    await purging.purge()
    assert await purging.purge() == 0
    assert await there(store, source2, variant, foreign) == [False, False, True]
    left = await seed.column(worker, "SELECT tenant_id FROM content WHERE sha256 = :s", s=sha256)
    assert left == [other.tenant_id]
    (row,) = await seed.column(
        worker,
        "SELECT concat_ws(' ', state, file_name, purged_at IS NOT NULL) FROM assets WHERE id = :a",
        a=second.asset_id,
    )
    assert row == "deleted  t"
    audited = "SELECT action FROM audit_log WHERE subject = :s ORDER BY id"
    assert await seed.column(worker, audited, s=str(second.asset_id)) == ["asset.delete", "asset.purge"]


async def test_one_that_can_not_be_removed_does_not_stand_before_the_others(
    worker, seed, store, tmp_path, purging, monkeypatch
):
    monkeypatch.setattr("streams.keeper.purging._BATCH", 1)
    tenant = await seed.tenant(worker)
    stuck, other = [await ready(worker, seed, store, tmp_path, tenant, uuid7().bytes * 2) for _ in range(2)]
    for made, *_ in (stuck, other):
        await delete(worker, seed, made)
    earlier = "UPDATE assets SET deleted_at = deleted_at - interval '1 hour' WHERE id = :a"
    await seed.change(worker, earlier, a=stuck[0].asset_id)
    real = store.delete

    async def held(key):
        if key == stuck[1]:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        await real(key)

    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", held)
        await purging.purge()
    assert await there(store, stuck[1], other[1], other[2]) == [True, False, False]
    await purging.purge()
    assert await there(store, stuck[1]) == [True], "its content is marked by who began, for some minutes"
    await seed.change(worker, "UPDATE content SET purging_at = now() - interval '1 day' WHERE tenant_id = :t", t=tenant)
    await purging.purge()
    assert await there(store, stuck[1], stuck[2]) == [False, False]


async def test_an_outage_keeps_no_job_from_bytes_beyond_those_that_it_met(
    worker, seed, store, tmp_path, purging, monkeypatch
):
    tenant = await seed.tenant(worker)
    for _ in range(3):
        made, *_ = await ready(worker, seed, store, tmp_path, tenant, uuid7().bytes * 2)
        await delete(worker, seed, made)
    away = []

    async def asked(*_which, **_how):
        if away:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)

    async def goes_away(key):
        away.append(key)
        await asked()

    marked = "SELECT count(*) FROM content WHERE tenant_id = :t AND purging_at IS NOT NULL"
    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", goes_away)
        patched.setattr(store, "check", asked)
        for _ in range(2):
            with pytest.raises(MedialaneError):
                await purging.purge()
            assert await seed.column(worker, marked, t=tenant) == [1]
    await seed.change(worker, "UPDATE content SET purging_at = now() - interval '1 day' WHERE tenant_id = :t", t=tenant)
    await purging.purge()
    assert await seed.column(worker, "SELECT count(*) FROM content WHERE tenant_id = :t", t=tenant) == [0]


async def test_a_job_at_work_on_the_bytes_keeps_their_objects(worker, seed, store, tmp_path, purging):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    made, source, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    _, _, decision = await claimed(worker, seed, tenant, sha256)
    assert decision.role is Role.REUSE
    await delete(worker, seed, made)
    await purging.purge()
    assert await there(store, source, variant) == [False, True]


async def test_bytes_whose_first_job_is_forgotten_cost_others_no_processing(worker, seed, store, tmp_path, purging):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    leader, _, _ = await ready(worker, seed, store, tmp_path, tenant, sha256)
    _, source, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    await delete(worker, seed, leader)
    await purging.purge()
    past = "UPDATE assets SET purged_at = now() - :kept * interval '1 second' WHERE id = :a"
    await seed.change(worker, past, kept=purge.KEPT_S + 60, a=leader.asset_id)
    async with worker.transaction() as connection:
        assert await purge.forget(connection, batch=500) == 1
    for table in ("jobs", "asset_events"):
        left = f"SELECT count(*) FROM {table} WHERE asset_id = :a"
        assert await seed.column(worker, left, a=leader.asset_id) == [0]
    _, _, decision = await claimed(worker, seed, tenant, sha256)
    assert decision.role is Role.REUSE
    assert await there(store, source, variant) == [True, True]


async def test_a_job_that_meets_bytes_whose_objects_go_waits(worker, seed, store, tmp_path, purging):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    made, _, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    await delete(worker, seed, made)
    async with worker.transaction() as connection:
        going = await purge.begin(connection, made.asset_id)
    assert going.contents == (sha256,)
    late, _, decision = await claimed(worker, seed, tenant, sha256)
    assert decision.role is Role.TWIN
    async with worker.transaction() as connection:
        assert await purge.begin(connection, made.asset_id) is None, "somebody is at it"
        await purge.finish(connection, going, objects=0, actor="t")
    await seed.change(worker, "UPDATE jobs SET state = 'queued', reason = NULL WHERE id = :j", j=late.job_id)
    async with worker.transaction() as connection:
        job = await protocol.claim(connection, late.dispatch())
        again = await protocol.join(connection, job, sha256)
    assert again.role is Role.LEADER
    assert variant


async def test_what_a_crash_left_marked_is_taken_up_after_a_while(worker, seed, store, tmp_path, purging):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    made, source, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    await delete(worker, seed, made)
    async with worker.transaction() as connection:
        await purge.begin(connection, made.asset_id)
    await seed.change(worker, "UPDATE content SET purging_at = now() - interval '1 day' WHERE sha256 = :s", s=sha256)
    await purging.purge()
    assert await there(store, source, variant) == [False, False]


async def test_a_mark_that_a_crash_left_keeps_no_job_from_the_bytes(worker, seed):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2

    async def hold():
        async with worker.transaction() as connection:
            return await purge.hold_content(connection, tenant, sha256)

    async def meet(stage):
        made = await seed.asset(worker, tenant)
        async with worker.transaction() as connection:
            job = await protocol.claim(connection, made.dispatch())
            return (await protocol.join(connection, msgspec.structs.replace(job, stage=stage), sha256)).role

    async def jobs_are_over():
        over = "UPDATE jobs SET state = 'cancelled', reason = NULL, lease_until = NULL WHERE tenant_id = :t"
        await seed.change(worker, over, t=tenant)

    stages = (Stage.IMAGE_PRIMARY, Stage.IMAGE_AVIF)
    assert await hold()
    assert [await meet(stage) for stage in stages] == [Role.TWIN] * 2
    await jobs_are_over()
    long_ago = "UPDATE content SET purging_at = now() - :bound * interval '1 second' WHERE sha256 = :s"
    await seed.change(worker, long_ago, bound=2 * purge.PURGE_BOUND_S, s=sha256)
    assert [await meet(stage) for stage in stages] == [Role.LEADER] * 2
    assert not await hold(), "jobs are at it"
    await jobs_are_over()
    assert await hold()


async def test_a_purge_that_comes_back_too_late_leaves_the_bytes_to_their_new_leader(worker, seed, store, tmp_path):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    made, _, _ = await ready(worker, seed, store, tmp_path, tenant, sha256)
    await delete(worker, seed, made)
    async with worker.transaction() as connection:
        going = await purge.begin(connection, made.asset_id)
    await seed.change(worker, "UPDATE content SET purging_at = now() - interval '1 day' WHERE sha256 = :s", s=sha256)
    _, _, decision = await claimed(worker, seed, tenant, sha256)
    assert decision.role is not Role.TWIN
    async with worker.transaction() as connection:
        await purge.finish(connection, going, objects=0, actor="t")
    assert await seed.column(worker, "SELECT count(*) FROM content WHERE sha256 = :s", s=sha256) == [1]


async def test_the_parts_of_a_variant_are_no_orphans(worker, seed, store, tmp_path, purging, sweeping):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    made, job, _ = await claimed(worker, seed, tenant, sha256)
    folder = f"{purge.content_prefix(tenant, sha256)}hls.v1-0123456789abcdef"
    ladder = NewVariant(
        profile="hls", profile_version=1, content_sha256=sha256, object_key=f"{folder}/hls.m3u8",
        content_type="application/vnd.apple.mpegurl", format="hls", width=1, height=1, duration_s=1.0, size=1,
        sha256=sha256, parts=(Part("240p.mp4", "video/mp4", 1, ""), Part("240p.m3u8", "text/plain", 1, "")),
    )  # fmt: skip
    nobodys = folder.replace("hls.v1-", "hls.v1-f") + "/240p.mp4"
    keys = (*ladder.object_keys(), nobodys)
    await put(store, tmp_path, *keys)
    async with worker.transaction() as connection:
        await protocol.finish(connection, job, sha256, variants=[ladder])
    await sweeping.sweep(datetime(2000, 1, 1, tzinfo=UTC) - datetime.now(UTC))
    assert await there(store, *keys) == [True, True, True, False]
    await delete(worker, seed, made)
    await purging.purge()
    assert await there(store, *keys) == [False] * 4


async def test_orphans_go_by_age_and_what_is_referred_to_or_under_way_stays(worker, seed, store, tmp_path, sweeping):
    tenant, sha256 = await seed.tenant(worker), uuid7().bytes * 2
    _, source, variant = await ready(worker, seed, store, tmp_path, tenant, sha256)
    old_version = f"{purge.content_prefix(tenant, sha256)}thumbnail.v0.webp"
    busy_sha = uuid7().bytes * 2
    await claimed(worker, seed, tenant, busy_sha)
    busy = f"{purge.content_prefix(tenant, busy_sha)}thumbnail.v1.webp"
    nobodys = f"uploads/{tenant}/{uuid7()}/photo.jpg"
    strange = "elsewhere/file"
    mine = (source, variant, old_version, busy, nobodys, strange)
    await put(store, tmp_path, old_version, busy, nobodys, strange)
    assert (await sweeping.sweep(timedelta(hours=1))).orphans == 0, "they are too young"
    assert await there(store, *mine) == [True] * 6
    ahead = datetime.now(UTC) - datetime(2000, 1, 1, tzinfo=UTC)
    found = await sweeping.sweep(-ahead, dry_run=True)
    assert isinstance(found, Swept)
    assert found.orphans >= 3
    assert await there(store, *mine) == [True] * 6
    await sweeping.sweep(-ahead)
    assert await there(store, *mine) == [True, True, False, True, False, True]
    marked = "SELECT count(*) FROM content WHERE tenant_id = :t AND purging_at IS NOT NULL"
    assert await seed.column(worker, marked, t=tenant) == [0]
