"""Uploads that nobody completed, on a real Postgres and a real S3 server: gone once, counted by kind, room given back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres.assets.lifecycle import NewAsset, create_assets, extend_upload
from connectors.postgres.protocol import cancel
from connectors.postgres.protocol.completing import Completed, complete_assets
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.metrics import UPLOADS_ABANDONED
from schemas.settings import KeeperSettings
from schemas.states import MediaKind
from streams.keeper.abandoned import AbandonedUploads

DAY = timedelta(days=1)


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry(), process="keeper")


@pytest.fixture
def sweeping(worker, store, metrics):
    return AbandonedUploads(worker, store, KeeperSettings(), metrics)


@pytest.fixture
async def tenant(worker, seed):
    """A tenant whose plan has 100 assets and 1,000 bytes in use."""
    made = await seed.tenant(worker)
    allow = "INSERT INTO allowances (tenant_id, assets, bytes) VALUES (:id, 100, 1000)"
    await seed.change(worker, allow, id=made)
    return made


async def announced(worker, store, tenant, *, days_ago, parts=False):
    key = f"uploads/{tenant}/{uuid7()}/a.jpg"
    asset = NewAsset(
        id=uuid7(), kind=MediaKind.IMAGE, file_name="a.jpg", content_type="image/jpeg", size=10, object_key=key,
        upload_expires_at=datetime.now(UTC) - timedelta(days=days_ago),
        upload_id=await store.create_multipart(key, "image/jpeg") if parts else None,
    )  # fmt: skip
    async with worker.transaction() as connection:
        await create_assets(connection, tenant, [asset])
    return asset


async def left(worker, seed, tenant):
    return set(await seed.column(worker, "SELECT id FROM assets WHERE tenant_id = :t", t=tenant))


async def used(worker, seed, tenant):
    (row,) = await seed.column(worker, "SELECT (assets, bytes)::text FROM allowances WHERE tenant_id = :t", t=tenant)
    return row


def counted(metrics):
    return {kind: metrics.counter(UPLOADS_ABANDONED, kind)._value.get() for kind in ("single", "parts")}


async def test_what_nobody_completed_goes_and_is_counted(worker, seed, store, tenant, sweeping, metrics):
    single, parts = [await announced(worker, store, tenant, days_ago=2, parts=parts) for parts in (False, True)]
    young, done = [await announced(worker, store, tenant, days_ago=days) for days in (0.5, 2)]
    async with worker.transaction() as connection:
        await complete_assets(connection, tenant, [Completed(done.id, "etag", None)])
    told = []
    assert await sweeping.sweep(DAY, dry_run=True, tell=told.append) == (2, 20)
    assert {one.id for one in told} == {single.id, parts.id}
    assert await left(worker, seed, tenant) == {single.id, parts.id, young.id, done.id}
    assert counted(metrics) == {"single": 0, "parts": 0}

    swept = await asyncio.gather(*(sweeping.sweep(DAY) for _ in range(4)))
    assert sum(one.uploads for one in swept) == 2, "each is removed by one of those who are at it"
    assert await left(worker, seed, tenant) == {young.id, done.id}
    assert counted(metrics) == {"single": 1, "parts": 1}
    assert await used(worker, seed, tenant) == "(98,980)"
    assert await store.list_parts(parts.object_key, parts.upload_id) is None


async def test_an_interrupted_sweep_is_gone_on_with_and_gives_back_once(
    worker, seed, store, tenant, sweeping, monkeypatch
):
    upload = await announced(worker, store, tenant, days_ago=2)

    async def away(_):
        raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)

    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", away)
        assert (await sweeping.sweep(DAY)).uploads == 0
    async with worker.transaction() as connection:
        assert await complete_assets(connection, tenant, [Completed(upload.id, "etag", None)]) == [False]
    assert (await sweeping.sweep(DAY)).uploads == 1
    assert await left(worker, seed, tenant) == set()
    assert await used(worker, seed, tenant) == "(99,990)"


async def test_one_that_can_not_be_removed_does_not_stand_before_the_others_but_an_outage_ends_the_sweep(
    worker, seed, store, tenant, sweeping, monkeypatch
):
    uploads = [await announced(worker, store, tenant, days_ago=2) for _ in range(3)]
    real, asked = store.delete, []

    async def refused(key):
        asked.append(key)
        if key == uploads[0].object_key:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        await real(key)

    async def away():
        raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)

    monkeypatch.setattr(store, "delete", refused)
    with monkeypatch.context() as patched:
        patched.setattr(store, "check", away)
        with pytest.raises(MedialaneError):
            await sweeping.sweep(DAY)
    assert asked == [uploads[0].object_key]
    assert (await sweeping.sweep(DAY)).uploads == 2
    assert await left(worker, seed, tenant) == {uploads[0].id}


async def test_what_its_tenant_deleted_is_not_given_back_again(worker, seed, store, tenant, sweeping):
    upload = await announced(worker, store, tenant, days_ago=2)
    async with worker.transaction() as connection:
        await cancel.delete_asset(connection, tenant, upload.id, actor="t")
    assert await used(worker, seed, tenant) == "(99,990)"
    await sweeping.sweep(DAY)
    assert await left(worker, seed, tenant) == set()
    assert await used(worker, seed, tenant) == "(99,990)"


async def test_an_upload_that_gets_a_new_address_before_its_turn_stays(
    worker, seed, store, tenant, sweeping, monkeypatch
):
    found = [await announced(worker, store, tenant, days_ago=2) for _ in range(2)]
    second = max(found, key=lambda asset: asset.id)
    delete = store.delete

    async def signed_again(key):  # while the first of those that were found is removed
        async with worker.transaction() as connection:
            await extend_upload(connection, tenant, second.id, datetime.now(UTC) + DAY)
        await delete(key)

    monkeypatch.setattr(store, "delete", signed_again)
    assert (await sweeping.sweep(DAY)).uploads == 1
    assert await left(worker, seed, tenant) == {second.id}
    assert await used(worker, seed, tenant) == "(99,990)"
    async with worker.transaction() as connection:
        assert await complete_assets(connection, tenant, [Completed(second.id, "etag", None)]) == [True]
