"""Completing many assets in one transaction: each gets one job, whoever else asks for it at the same time."""

import asyncio
import datetime as dt

import pytest
import sqlalchemy as sa

from connectors.postgres.assets.lifecycle import NewAsset, create_assets
from connectors.postgres.protocol.completing import Completed, complete_assets
from schemas.ids import uuid7
from schemas.states import MediaKind

_TOLD = sa.text("SELECT asset_id FROM asset_events WHERE asset_id = ANY(:ids) AND type = 'asset.created'")


@pytest.fixture
async def tenant(worker, seed):
    return await seed.tenant(worker)


async def announce(worker, tenant, kinds):
    """Pending assets of these kinds; returns their ids."""
    made = [
        NewAsset(
            id=uuid7(), kind=kind, file_name="a", content_type="x/y", size=5, object_key=f"u/{uuid7()}",
            upload_expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
        )
        for kind in kinds
    ]  # fmt: skip
    async with worker.transaction() as connection:
        ids = await create_assets(connection, tenant, made)
        told = await connection.execute(_TOLD, {"ids": ids})
    assert ids == [one.id for one in made]
    assert sorted(told.scalars()) == sorted(ids), "each has its event"
    return ids


async def complete(worker, tenant, ids):
    async with worker.transaction() as connection:
        return await complete_assets(connection, tenant, [Completed(one, "etag", None) for one in ids])


async def jobs(worker, seed, tenant):
    return await seed.column(worker, "SELECT asset_id FROM jobs WHERE tenant_id = :t", t=tenant)


async def test_photos_and_videos_go_together_each_to_its_topic(worker, seed, tenant):
    ids = await announce(worker, tenant, [MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.IMAGE])
    assert await complete(worker, tenant, ids) == [True] * 3
    statement = "SELECT topic FROM jobs WHERE asset_id = ANY(:ids) ORDER BY array_position(:ids, asset_id)"
    assert await seed.column(worker, statement, ids=ids) == ["jobs.image", "jobs.video", "jobs.image"]
    types = await seed.column(
        worker, "SELECT type FROM outbox WHERE tenant_id = :t AND aggregateid = :a ORDER BY seq",
        t=str(tenant), a=str(ids[0]),
    )  # fmt: skip
    assert types == ["asset.created", "asset.uploaded", "job.starting"]


async def test_the_same_asset_twice_in_one_transaction_gets_one_job(worker, seed, tenant):
    (one, other) = await announce(worker, tenant, [MediaKind.IMAGE] * 2)
    await complete(worker, tenant, [one, other, one])
    assert sorted(await jobs(worker, seed, tenant)) == sorted([one, other])


async def test_the_same_assets_by_two_at_once_in_other_orders(worker, seed, tenant):
    ids = await announce(worker, tenant, [MediaKind.IMAGE] * 30)
    first, second = await asyncio.gather(complete(worker, tenant, ids), complete(worker, tenant, ids[::-1]))
    assert [one + other for one, other in zip(first, second[::-1], strict=True)] == [1] * 30
    assert sorted(await jobs(worker, seed, tenant)) == sorted(ids)


async def test_jobs_made_together_count_for_each_others_credit(worker, seed, tenant):
    await seed.change(worker, "UPDATE tenants SET credits = 3 WHERE id = :t", t=tenant)
    ids = await announce(worker, tenant, [MediaKind.IMAGE] * 5 + [MediaKind.VIDEO])
    await complete(worker, tenant, ids)
    statement = "SELECT state FROM jobs WHERE asset_id = ANY(:ids) ORDER BY array_position(:ids, asset_id)"
    assert await seed.column(worker, statement, ids=ids) == ["queued"] * 3 + ["waiting"] * 2 + ["queued"]
