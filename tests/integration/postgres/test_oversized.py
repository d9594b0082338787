"""Open uploads whose parts hold more than was announced, on a real Postgres and a real S3 server."""

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import sqlalchemy as sa
from yarl import URL

from connectors.objectstore.port import SMALLEST_PART
from connectors.postgres import open_parts
from connectors.postgres.assets import NewAsset, create_assets
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.states import MediaKind
from streams.keeper import oversized
from streams.keeper.oversized import OversizedUploads


async def begun(worker, store, tenant, size, *parts):
    """An upload of an announced size, with parts of these lengths."""
    key = f"uploads/{tenant}/{uuid7()}/a.mp4"
    asset = NewAsset(
        id=uuid7(), kind=MediaKind.VIDEO, file_name="a.mp4", content_type="video/mp4", size=size, object_key=key,
        upload_expires_at=datetime.now(UTC) + timedelta(days=7),
        upload_id=await store.create_multipart(key, "video/mp4"),
    )  # fmt: skip
    async with worker.transaction() as connection:
        await create_assets(connection, tenant, [asset])
    async with aiohttp.ClientSession() as session:
        for number, length in enumerate(parts, 1):
            address = URL(store.presign_part(key, asset.upload_id, number).url, encoded=True)
            async with session.put(address, data=bytes(length)) as response:
                assert response.status == 200
    return asset


async def sizes(store, asset):
    parts = await store.list_parts(asset.object_key, asset.upload_id)
    return None if parts is None else [part.size for part in parts]


async def test_parts_beyond_what_was_announced_are_removed_and_the_asset_keeps_its_place(worker, seed, store):
    tenant = await seed.tenant(worker)
    honest = await begun(worker, store, tenant, 2 * SMALLEST_PART, SMALLEST_PART, SMALLEST_PART)
    greedy = await begun(worker, store, tenant, 10, SMALLEST_PART, 11)
    looking = OversizedUploads(worker, store)
    assert [await looking.look() for _ in range(2)] == [1, 0]
    assert await sizes(store, honest) == [SMALLEST_PART, SMALLEST_PART]
    assert not await sizes(store, greedy)
    kept = await seed.column(worker, "SELECT id FROM assets WHERE tenant_id = :t AND state = 'pending'", t=tenant)
    assert set(kept) == {honest.id, greedy.id}
    noted = await seed.column(worker, "SELECT detail FROM audit_log WHERE tenant_id = :t", t=tenant)
    assert noted == [{"announced": 10, "held": SMALLEST_PART + 11}]


async def test_each_open_upload_has_its_turn(worker, seed, store, monkeypatch):
    monkeypatch.setattr(oversized, "_PAGE", 2)
    tenant = await seed.tenant(worker)
    await seed.change(worker, "DELETE FROM assets WHERE upload_id IS NOT NULL")
    for _ in range(2):
        await begun(worker, store, tenant, 10)
    greedy = await begun(worker, store, tenant, 10, SMALLEST_PART + 11)
    looking = OversizedUploads(worker, store)
    assert [await looking.look() for _ in range(2)] == [0, 1]
    assert not await sizes(store, greedy)


async def test_one_of_which_the_store_tells_nothing_does_not_stop_the_others(worker, seed, store, monkeypatch):
    tenant = await seed.tenant(worker)
    await seed.change(worker, "DELETE FROM assets WHERE upload_id IS NOT NULL")
    first = await begun(worker, store, tenant, 10)
    greedy = await begun(worker, store, tenant, 10, SMALLEST_PART + 11)
    list_parts = store.list_parts

    async def told(key, upload_id):
        if key == first.object_key:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        return await list_parts(key, upload_id)

    monkeypatch.setattr(store, "list_parts", told)
    looking = OversizedUploads(worker, store)
    with pytest.raises(MedialaneError):
        await looking.look()
    assert await looking.look() == 1
    assert not await sizes(store, greedy)


async def test_open_uploads_are_found_without_walking_over_all_assets(worker):
    async with worker.transaction() as connection:
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        values = {"after": uuid7(), "limit": 200}
        plan = await connection.execute(sa.text(f"EXPLAIN {open_parts._FIND.text}"), values)
        assert "assets_open_parts" in "\n".join(plan.scalars())
