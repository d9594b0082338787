"""Whose bucket it is, on a real Postgres and a real S3 server: nothing is removed from another's."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from support import stack as shared
from support.objects import put

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.assets.lifecycle import NewAsset, create_assets
from connectors.postgres.protocol import cancel
from connectors.postgres.protocol.completing import Completed, complete_assets
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.settings import KeeperSettings
from schemas.states import MediaKind
from streams.bucket import MARK, Bucket, ForeignBucketError
from streams.keeper.abandoned import AbandonedUploads
from streams.keeper.orphans import Orphans, TooManyOrphansError
from streams.keeper.oversized import OversizedUploads
from streams.keeper.purging import Purging
from streams.media.gate import StoreGate

EVERYTHING = timedelta(seconds=-3600)
SETTINGS = KeeperSettings(orphan_age_s=-3600.0)
FORGET = "UPDATE installation SET id = gen_random_uuid(), marked_at = NULL"
DUE = (
    "UPDATE sweeps SET began_at = now() - interval '25 hours', position = NULL, lease_until = '-infinity', "
    "stopped_at = NULL"
)


@pytest.fixture
async def worker(worker, seed):
    """An installation that has just been made: of no bucket, and without uploads."""
    await seed.change(worker, "DELETE FROM assets")
    await seed.change(worker, DUE)
    return worker


@pytest.fixture
async def store(s3_stack):
    """A bucket of the test's own."""
    with shared.fresh_bucket(s3_stack) as settings:
        async with S3ObjectStore(settings) as opened:
            yield opened


@pytest.fixture
async def bucket(worker, store, owner):
    owner(FORGET)
    return Bucket(worker, store)


@pytest.fixture
def owner(database):
    """Changes what only the owner role may."""

    def change(statement):
        with psycopg.connect(database.owner, autocommit=True) as connection:
            connection.execute(statement)

    return change


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry(), process="keeper")


def shown(metrics, name):
    return metrics.registry.get_sample_value(name)


async def upload(worker, seed, *, completed):
    tenant = await seed.tenant(worker)
    asset = NewAsset(
        id=uuid7(), kind=MediaKind.IMAGE, file_name="a.jpg", content_type="image/jpeg", size=10,
        object_key=f"uploads/{tenant}/{uuid7()}/a.jpg", upload_expires_at=datetime.now(UTC) - timedelta(days=2),
        upload_id=None,
    )  # fmt: skip
    async with worker.transaction() as connection:
        await create_assets(connection, tenant, [asset])
        if completed:
            await complete_assets(connection, tenant, [Completed(asset.id, "etag", None)])
    return tenant, asset


async def id_of(worker, seed):
    (found,) = await seed.column(worker, "SELECT id::text FROM installation")
    return found


async def test_a_bucket_that_is_nobodys_is_marked_once_by_many_keepers(worker, seed, store, bucket):
    await bucket.check()
    assert await bucket.bears() is None, "looking changes nothing"
    await asyncio.gather(*(Bucket(worker, store).confirm() for _ in range(4)))
    assert await bucket.bears() == await id_of(worker, seed)
    await bucket.confirm()
    await bucket.check()


async def test_of_two_installations_one_gets_the_bucket(worker, seed, bucket, owner):
    await bucket.confirm()
    first = await id_of(worker, seed)
    owner(FORGET)
    for look in (bucket.confirm, bucket.check):
        with pytest.raises(ForeignBucketError) as caught:
            await look()
        assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
        assert first in str(caught.value)
        assert await id_of(worker, seed) in str(caught.value)
        assert "adopt-bucket" in str(caught.value)
    assert await bucket.bears() == first
    assert str(await bucket.adopt()) == await id_of(worker, seed) == await bucket.bears()
    await bucket.confirm()


async def test_one_that_lost_its_mark_is_not_taken_for_ours(bucket, store, owner):
    await bucket.confirm()
    owner("UPDATE installation SET marked_at = NULL")  # a keeper died before it noted that it had marked it
    await bucket.confirm()
    await store.delete(MARK)
    for look in (bucket.confirm, bucket.check):
        with pytest.raises(ForeignBucketError, match="bears no mark"):
            await look()
    assert await bucket.bears() is None
    await bucket.adopt()
    await bucket.check()


@pytest.mark.parametrize("key", ["media/x/1", "uploads/x/1"])
async def test_who_knows_of_no_upload_marks_no_bucket_that_holds_objects(worker, seed, store, bucket, tmp_path, key):
    await put(store, tmp_path, key)
    await upload(worker, seed, completed=False)
    with pytest.raises(ForeignBucketError, match="knows of no completed upload"):
        await bucket.confirm()
    assert await bucket.bears() is None
    await upload(worker, seed, completed=True)
    await bucket.confirm()
    assert await bucket.bears() == await id_of(worker, seed)


async def test_a_keeper_removes_nothing_from_anothers_bucket_and_says_so(
    worker, seed, store, bucket, owner, metrics, tmp_path
):
    await bucket.confirm()
    owner(FORGET)
    tenant, deleted = await upload(worker, seed, completed=True)
    async with worker.transaction() as connection:
        await cancel.delete_asset(connection, tenant, deleted.id, actor="t")
    await seed.change(worker, "UPDATE assets SET deleted_at = now() - interval '1 day' WHERE id = :a", a=deleted.id)
    _, pending = await upload(worker, seed, completed=False)
    keys = [deleted.object_key, pending.object_key, "uploads/x/1", "media/x/1"]
    await put(store, tmp_path, *keys)
    orphans = Orphans(worker, store, SETTINGS, metrics)
    acts = [
        orphans.go_on, lambda: orphans.sweep(EVERYTHING, force=True), Purging(worker, store, SETTINGS, metrics).purge,
        lambda: AbandonedUploads(worker, store, SETTINGS, metrics).sweep(timedelta(days=1)),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(ForeignBucketError):
            await act()
    assert [await store.head(key) is not None for key in keys] == [True] * 4
    assert await seed.column(worker, "SELECT count(*) FROM assets WHERE state = 'pending'") == [1]
    assert shown(metrics, "media_bucket_mismatch") == 1
    await bucket.adopt()
    await orphans.go_on()
    assert shown(metrics, "media_bucket_mismatch") == 0
    assert await store.head("media/x/1") is None


async def test_parts_stay_in_anothers_bucket(worker, seed, store, bucket, owner, monkeypatch):
    await bucket.confirm()
    owner(FORGET)
    _, asset = await upload(worker, seed, completed=False)
    upload_id = await store.create_multipart(asset.object_key, "video/mp4")
    await seed.change(worker, "UPDATE assets SET upload_id = :u WHERE id = :a", u=upload_id, a=asset.id)
    real = store.list_parts

    async def oversized(key, upload_id):
        return [type("Part", (), {"size": 1 << 30})] if await real(key, upload_id) is not None else None

    monkeypatch.setattr(store, "list_parts", oversized)
    with pytest.raises(ForeignBucketError):
        await OversizedUploads(worker, store).look()
    assert await real(asset.object_key, upload_id) == ()


async def test_a_walk_that_meets_mostly_strangers_stops_before_it_removes_any(
    worker, seed, store, bucket, metrics, tmp_path
):
    await bucket.adopt()
    keys = [f"uploads/x/{number:03}" for number in range(101)]
    await put(store, tmp_path, *keys)
    orphans = Orphans(worker, store, SETTINGS, metrics)
    assert (await orphans.go_on()).orphans == 0
    assert len(await store.list_page("uploads/")) == len(keys)
    assert shown(metrics, "media_sweep_stopped") == 1
    another = Metrics(CollectorRegistry(), process="keeper")
    assert await Orphans(worker, store, SETTINGS, another).go_on() is None, "it begins anew in a day"
    assert shown(another, "media_sweep_stopped") == 1

    found = await orphans.sweep(EVERYTHING, dry_run=True)
    assert (found.old, found.strange, found.orphans) == (101, 101, 101)
    with pytest.raises(TooManyOrphansError, match="of 101 objects that are old enough, 101 are"):
        await orphans.sweep(EVERYTHING)
    assert len(await store.list_page("uploads/")) == len(keys)
    assert (await orphans.sweep(EVERYTHING, force=True)).orphans == 101
    await orphans.go_on()
    assert shown(metrics, "media_sweep_stopped") == 0


async def test_few_strangers_go_and_so_does_any_share_of_variants_that_were_made_anew(
    worker, seed, store, bucket, metrics, tmp_path
):
    await bucket.adopt()
    asset = await seed.asset(worker, await seed.tenant(worker))
    (tenant,) = await seed.column(worker, "SELECT tenant_id FROM assets WHERE id = :a", a=asset.asset_id)
    folder = f"media/{tenant}/{'ab' * 32}/"
    variant = """
        INSERT INTO variants (id, tenant_id, asset_id, generation, profile, profile_version, content_sha256, object_key,
            content_type, format, width, height, size, sha256, parts)
        VALUES (gen_random_uuid(), :t, :a, 1, 'thumbnail', 2, decode(repeat('ab', 32), 'hex'), :k, 'image/webp', 'webp',
            1, 1, 1, decode(repeat('ab', 32), 'hex'), '[]')
    """
    await seed.change(worker, variant, t=tenant, a=asset.asset_id, k=f"{folder}thumbnail.v2.webp")
    older = [f"{folder}hls.v1-0/{number}.mp4" for number in range(130)]
    strange = [f"uploads/x/{number:03}" for number in range(100)]
    await put(store, tmp_path, f"{folder}thumbnail.v2.webp", *older, *strange)
    await seed.change(worker, "UPDATE jobs SET state = 'cancelled', reason = NULL WHERE tenant_id = :t", t=tenant)
    swept = await Orphans(worker, store, SETTINGS, metrics).go_on()
    assert (swept.old, swept.strange, swept.orphans) == (231, 100, 230)
    assert [one.key for one in await store.list_page("")] == [MARK, f"{folder}thumbnail.v2.webp"]


async def test_a_source_is_not_gone_while_the_bucket_is_anothers(bucket, owner):
    gate = StoreGate(bucket, Metrics(CollectorRegistry(), process="media-images"))
    gone = MedialaneError(ErrorCode.SOURCE_MISSING)
    assert await gate.judge(gone) is gone, "a bucket that nobody has marked yet is not known to be another's"
    await bucket.confirm()
    assert await gate.judge(gone) is gone
    owner(FORGET)
    for code in ErrorCode:
        error = MedialaneError(code)
        judged = await gate.judge(error)
        assert isinstance(judged, ForeignBucketError) if code is ErrorCode.SOURCE_MISSING else judged is error
