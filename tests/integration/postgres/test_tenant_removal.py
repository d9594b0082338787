"""Removing a tenant: nobody is let in, nothing that is made meanwhile is missed, no step reads a whole table for it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from support import protocol
from support.locks import until_waited_for

from connectors.postgres.accounts import removal as tenant_removal
from connectors.postgres.accounts.keys import authenticate, mint_key, principal_of_token
from connectors.postgres.assets.lifecycle import NewAsset, begin_again, create_assets
from connectors.postgres.database import Database
from schemas.ids import uuid7
from schemas.scopes import Scope
from schemas.settings import DatabaseSettings
from schemas.states import DeliveryState, MediaKind

SMALL = {"webhook_endpoints"}
READ_WHOLE = sa.text("SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0 AND schemaname = 'public'")
LEFT = sa.text("""
    SELECT (SELECT count(*) FROM jobs WHERE tenant_id = :t) + (SELECT count(*) FROM asset_events WHERE tenant_id = :t)
        + (SELECT count(*) FROM dead_letters WHERE tenant_id = :t) + (SELECT count(*) FROM content WHERE tenant_id = :t)
        + (SELECT count(*) FROM webhook_deliveries WHERE tenant_id = :t)
        + (SELECT count(*) FROM webhook_attempts WHERE tenant_id = :t)
""")


async def furnish(worker, seed, tenant_id):
    """A job with content, events and a dead letter; an endpoint with two deliveries, each with an attempt."""
    made = await seed.upload(worker, tenant_id)
    async with worker.transaction() as connection:
        job = await protocol.claim(connection, made.dispatch())
        sha256 = made.asset_id.bytes * 2
        await protocol.join(connection, job, sha256)
        await protocol.fail(connection, job, sha256=sha256)
        endpoint = uuid7()
        await connection.execute(
            sa.text("""
                INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events, deleted_at)
                VALUES (:id, :tenant_id, 'https://a.example', '', '{*}', now())
            """),
            {"id": endpoint, "tenant_id": tenant_id},
        )
        for _ in range(2):
            await connection.execute(
                sa.text("""
                    WITH made AS (
                        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq,
                            payload, state)
                        VALUES (:id, :tenant_id, :endpoint, :id, 't', :asset, 1, '{}', :state) RETURNING id, tenant_id
                    )
                    INSERT INTO webhook_attempts (delivery_id, attempt, tenant_id) SELECT id, 1, tenant_id FROM made
                """),
                {
                    "id": uuid7(), "tenant_id": tenant_id, "endpoint": endpoint, "asset": made.asset_id,
                    "state": DeliveryState.DELIVERED.value,
                },
            )  # fmt: skip
    return made


@pytest.mark.parametrize("paged", [True, False], ids=["page by page", "with the tenant's row"])
async def test_no_step_reads_a_large_table_as_a_whole(worker, database, seed, paged):
    tenant_id, other = await seed.tenant(worker), await seed.tenant(worker)
    for one in (tenant_id, other):
        await furnish(worker, seed, one)
    (stay,) = await seed.column(worker, LEFT.text, t=other)
    # A session of its own: keys' checks keep the plans that they were first made with.
    settings = DatabaseSettings(url=database.worker, pool_size=1)
    async with Database(settings, application="test") as own, own.transaction() as connection:
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        await remove_assets(connection, tenant_id)
        if paged:
            await remove_pages(connection, tenant_id)
        assert await tenant_removal.forget_tenant(connection, tenant_id)
        assert set((await connection.execute(READ_WHOLE)).scalars()) <= SMALL
    assert await seed.column(worker, LEFT.text, t=tenant_id) == [0]
    assert await seed.column(worker, LEFT.text, t=other) == [stay]


async def remove_assets(connection, tenant_id):
    while held := await tenant_removal.next_assets(connection, tenant_id, limit=1):
        await tenant_removal.forget_assets(connection, held)


async def remove_pages(connection, tenant_id):
    for forget, pages in ((tenant_removal.forget_deliveries, 2), (tenant_removal.forget_contents, 1)):
        assert [await forget(connection, tenant_id, limit=1) for _ in range(pages + 1)] == [1] * pages + [0]


async def test_nobody_is_let_in_for_a_tenant_that_is_being_removed(worker, database, seed):
    tenant_id = await seed.tenant(worker)
    async with worker.transaction() as connection:
        before = await mint_key(connection, tenant_id, scopes=(Scope.ADMIN,))

    async def let_in(text):
        now = datetime.now(UTC)
        slug = f"t-{tenant_id.hex[-12:]}"
        async with (
            Database(DatabaseSettings(url=database.app, pool_size=1), application="test") as app,
            app.transaction() as connection,
        ):
            token = await principal_of_token(connection, slug, actor="t", scopes=frozenset(), expires_at=now)
            return token is not None, await authenticate(connection, text, now=now) is not None

    assert await let_in(before.text) == (True, True)
    async with worker.transaction() as connection:
        await tenant_removal.shut_out(connection, tenant_id)
        later = await mint_key(connection, tenant_id, scopes=(Scope.ADMIN,))  # by a request that was let in before
    assert await let_in(before.text) == (False, False)
    assert await let_in(later.text) == (False, False)


async def begun(connection, tenant_id, upload_id):
    """An upload in parts."""
    asset = NewAsset(
        id=uuid7(), kind=MediaKind.VIDEO, file_name="a.mp4", content_type="video/mp4", size=5,
        object_key=f"uploads/{uuid7()}", upload_expires_at=datetime.now(UTC) + timedelta(days=7), upload_id=upload_id,
    )  # fmt: skip
    await create_assets(connection, tenant_id, [asset])
    return asset.id


async def test_an_upload_that_is_begun_meanwhile_keeps_the_tenants_row(worker, seed):
    tenant_id = await seed.tenant(worker)

    async def forget():
        async with worker.transaction() as connection:
            return await tenant_removal.forget_tenant(connection, tenant_id)

    async with worker.transaction() as other:
        await begun(other, tenant_id, "parts")
        forgetting = asyncio.create_task(forget())
        await until_waited_for(other, worker, forgetting)
    assert not await forgetting
    async with worker.transaction() as connection:
        held = await tenant_removal.next_assets(connection, tenant_id, limit=10)
        assert [asset.upload_id for asset in held] == ["parts"]
        await tenant_removal.forget_assets(connection, held)
    assert await forget()


async def test_parts_that_are_begun_anew_meanwhile_are_not_forgotten(worker, seed):
    tenant_id = await seed.tenant(worker)
    async with worker.transaction() as connection:
        asset_id = await begun(connection, tenant_id, "older")
        single = await begun(connection, tenant_id, None)
        held = await tenant_removal.next_assets(connection, tenant_id, limit=10)
        assert await begin_again(connection, tenant_id, asset_id, older="older", newer="newer")
        await tenant_removal.forget_assets(connection, held)
        left = await tenant_removal.next_assets(connection, tenant_id, limit=10)
    assert single not in {asset.id for asset in left}
    assert [(asset.id, asset.upload_id) for asset in left] == [(asset_id, "newer")]
