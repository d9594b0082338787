"""Open uploads whose parts hold more than was announced, on a real Postgres and a real S3 server."""

from datetime import UTC, datetime, timedelta

import aiohttp
from support.plans import nodes_of, rows_read
from yarl import URL

from connectors.objectstore.port import SMALLEST_PART
from connectors.postgres.assets import open_parts
from connectors.postgres.assets.lifecycle import NewAsset, create_assets
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
    assert await OversizedUploads(worker, store).look() == 1
    assert not await sizes(store, greedy)


MANY = """
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, upload_id)
    SELECT gen_random_uuid(), :t, 'pending', 'video', 'a.mp4', 'video/mp4', 2, 'uploads/' || :t || '/' || n, 'gone'
    FROM generate_series(1, :many) AS n
"""


async def test_a_tenant_with_very_many_open_uploads_delays_nobody_elses_turn(worker, seed, store):
    await seed.change(worker, "DELETE FROM assets WHERE upload_id IS NOT NULL")
    first, second = [await seed.tenant(worker) for _ in range(2)]
    await seed.change(worker, MANY, t=first, many=1000)
    greedy = await begun(worker, store, second, 10, SMALLEST_PART + 11)
    assert await OversizedUploads(worker, store).look() == 1
    assert not await sizes(store, greedy)


async def test_of_more_tenants_than_a_round_has_looks_who_waits_longest_comes_first(worker, seed, store, monkeypatch):
    monkeypatch.setattr(oversized, "_PAGE", 2)
    await seed.change(worker, "DELETE FROM assets WHERE upload_id IS NOT NULL")
    greedy = [await begun(worker, store, await seed.tenant(worker), 10, SMALLEST_PART + 11) for _ in range(3)]
    looking = OversizedUploads(worker, store)
    assert [await looking.look() for _ in range(2)] == [2, 1]
    assert not any([await sizes(store, one) for one in greedy])


async def test_tenants_that_begin_again_and_again_do_not_stand_before_who_waits(worker, seed, store, monkeypatch):
    monkeypatch.setattr(oversized, "_PAGE", 1)
    await seed.change(worker, "DELETE FROM assets WHERE upload_id IS NOT NULL")
    tenant = await seed.tenant(worker)
    await begun(worker, store, tenant, 10)
    looking = OversizedUploads(worker, store)
    assert await looking.look() == 0
    greedy, ended = await begun(worker, store, tenant, 10, SMALLEST_PART + 11), 0
    for _ in range(3):
        await begun(worker, store, await seed.tenant(worker), 10)
        ended += await looking.look()
    assert ended == 1
    assert not await sizes(store, greedy)


async def test_open_uploads_are_found_without_walking_over_all_assets(worker, seed):
    tenant = await seed.tenant(worker)
    await seed.change(worker, MANY, t=tenant, many=1000)
    values = {"tenants": [tenant], "after": [uuid7()], "limit": 20}
    for statement, asked in ((open_parts._WHOSE, {}), (open_parts._FIND, values)):
        async with worker.transaction() as connection:
            nodes = await nodes_of(connection, statement, asked, analyze=True)
        read = [node for node in nodes if node.get("Relation Name") == "assets"]
        assert {node["Index Name"] for node in read} == {"assets_open_parts_of_tenant"}
        assert sum(rows_read(node) for node in read) <= 2 * 20
