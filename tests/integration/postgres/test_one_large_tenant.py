"""What a group writes costs by the group, however many rows its tenant has, and however few the others have.

The planner knows tenants by their average: to it, the thousands of one beside single rows of thousands are three or four,
cheaper to read than to look up eight by their keys.
"""

from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources

import psycopg
import pytest
import sqlalchemy as sa
from support.protocol import SMALL, join

from connectors.postgres.assets.lifecycle import NewAsset, create_assets, find_uploads
from connectors.postgres.assets.views import AssetFilter, list_assets, read_asset, read_variants
from connectors.postgres.protocol.completing import Completed, complete_assets
from connectors.postgres.protocol.finishing import Finish, finish_all
from connectors.postgres.protocol.jobs import ClaimedJob, Offered, claim_all, heartbeat
from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.states import AssetState, MediaKind, Stage

MANY, OTHERS, GROUP = 6_000, 2_000, 8
ROUNDS = 8  # from the sixth time on, a statement's plan is made once for all values
FILL = f"""
    INSERT INTO tenants (id, slug) SELECT gen_random_uuid(), 'other-' || n FROM generate_series(1, {OTHERS}) AS n;
    CREATE TEMP TABLE whole AS
        SELECT id AS tenant_id, gen_random_uuid() AS id FROM tenants WHERE slug LIKE 'other-%'
        UNION ALL SELECT '{{tenant}}'::uuid, gen_random_uuid() FROM generate_series(1, {MANY}) AS n;
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, content_sha256, tags,
        created_at)
    SELECT id, tenant_id, 'ready', 'image', 'a.jpg', 'image/jpeg', 3, 'uploads/' || id, sha256(id::text::bytea),
        '{{{{beach}}}}', now() - random() * interval '1 day' FROM whole;
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, content_sha256, finished_at)
    SELECT gen_random_uuid(), tenant_id, id, 1, 'image.primary', 'jobs.image', 'done', sha256(id::text::bytea), now()
    FROM whole;
    INSERT INTO variants (id, tenant_id, asset_id, generation, profile, profile_version, content_sha256, object_key,
        content_type, format, width, height, size, sha256)
    SELECT gen_random_uuid(), tenant_id, id, 1, 'thumbnail', 1, sha256(id::text::bytea), 'media/' || id, 'image/webp',
        'webp', 1, 1, 1, sha256(id::text::bytea) FROM whole;
    INSERT INTO content (tenant_id, sha256, state, leader_job_id)
    SELECT tenant_id, sha256(id::text::bytea), 'done', id FROM whole;
    INSERT INTO asset_events (asset_id, seq, tenant_id, id, generation, type, subject, payload, created_at)
    SELECT id, 1, tenant_id, gen_random_uuid(), 1, 'asset.created', id, '{{{{}}}}', now() FROM whole;
"""
TABLES = ("assets", "asset_terms", "jobs", "variants", "content", "asset_events")
# As of a table that nobody has looked at yet, whatever tests before did.
FORGET = "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname IN ('assets', 'content_stages')"
KNOWN = "SELECT relname, reltuples FROM pg_class WHERE relname IN ('assets', 'content_stages')"
PLANNED = sa.text("SELECT set_config('plan_cache_mode', :mode, true)")
READ = sa.text("SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables")


@pytest.fixture(params=["unknown", "analysed"])
async def large(request, worker, database, seed):
    """A tenant, to a planner that has looked at the tables, and to one that has not, as in an installation's first
    minute.
    """
    tenant_id = await seed.tenant(worker)
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        owner.execute(FILL.format(tenant=tenant_id))
        if request.param == "analysed":
            owner.execute(f"ANALYZE {', '.join(TABLES)}")
        yield tenant_id
        owner.execute("DELETE FROM tenants WHERE slug LIKE 'other-%%' OR id = %s", [tenant_id])


class Reading:
    """Transactions that count the rows that they read, table by table."""

    def __init__(self, app, worker, tenant_id):
        self._app, self._worker, self._tenant_id = app, worker, tenant_id
        self.most = Counter()

    def by_app(self, name):
        return self._counted(name, self._app.tenant(self._tenant_id, generic_plans=True))

    def by_worker(self, name):
        return self._counted(name, self._worker.transaction())

    @asynccontextmanager
    async def _counted(self, name, transaction):
        async with transaction as connection:
            before = dict((await connection.execute(READ)).all())
            yield connection
            after = dict((await connection.execute(READ)).all())
        for table in TABLES:
            self.most[name, table] = max(self.most[name, table], after[table] - before[table])


async def uploaded(reading, tenant_id, ids):
    """The dispatches of assets with these ids, which were made and are complete."""
    assets = [
        NewAsset(
            id=asset_id, kind=MediaKind.IMAGE, file_name="a.jpg", content_type="image/jpeg", size=3,
            object_key=f"uploads/{asset_id}", upload_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        for asset_id in ids
    ]  # fmt: skip
    async with reading.by_app("create") as connection:
        await create_assets(connection, tenant_id, assets)
    async with reading.by_app("find") as connection:
        assert all(await find_uploads(connection, tenant_id, ids))
    async with reading.by_app("complete") as connection:
        await complete_assets(connection, tenant_id, [Completed(asset_id, "etag", None) for asset_id in ids])
    made = sa.text("SELECT id AS job_id, asset_id FROM jobs WHERE asset_id = ANY(:ids)")
    async with reading.by_app("jobs") as connection:
        rows = (await connection.execute(made, {"ids": ids})).mappings().all()
    return [Dispatch(**row, tenant_id=tenant_id, stage=Stage.IMAGE_PRIMARY, dispatch=1) for row in rows]


async def processed(reading, dispatches):
    """Their jobs, which are done."""
    async with reading.by_worker("claim") as connection:
        jobs = await claim_all(connection, [Offered(each) for each in dispatches], owner="w", lease_s=60)
    assert all(isinstance(job, ClaimedJob) for job in jobs)
    async with reading.by_worker("heartbeat") as connection:
        await heartbeat(connection, [(job.job_id, job.epoch) for job in jobs], lease_s=60)
    for job in jobs:
        async with reading.by_worker("join") as connection:
            await join(connection, job, job.asset_id.bytes * 2)
    ends = [Finish(job=job, sha256=job.asset_id.bytes * 2, report={}, traceparent=None, facts=SMALL) for job in jobs]
    async with reading.by_worker("finish") as connection:
        assert await finish_all(connection, ends) == [True] * len(ends)


async def test_the_step_has_tables_looked_at_that_are_large_and_no_empty_one(large, database):
    step = (resources.files("migrations") / "versions" / "0024_large_tenants.sql").read_text(encoding="utf-8")
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(FORGET)
        owner.execute(f"BEGIN; {step} COMMIT;")
        known = dict(owner.execute(KNOWN).fetchall())
    assert known == {"assets": OTHERS + MANY, "content_stages": -1}


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_by_tag_and_state_walks_no_further_than_the_page(app, worker, large, plan_cache_mode):
    reading = Reading(app, worker, large)
    wanted = AssetFilter(state=AssetState.READY, tags=("beach",))
    async with reading.by_app("page") as connection:
        await connection.execute(PLANNED, {"mode": plan_cache_mode})
        page = await list_assets(connection, large, limit=GROUP, where=wanted)
    assert len(page) == GROUP
    assert {what: count for what, count in reading.most.items() if count > 10 * GROUP} == {}


async def test_a_group_reads_its_own_rows(app, worker, large):
    reading = Reading(app, worker, large)
    for _ in range(ROUNDS):
        ids = [uuid7() for _ in range(GROUP)]
        await processed(reading, await uploaded(reading, large, ids))
        async with reading.by_app("show") as connection:
            assert (await read_asset(connection, large, ids[0])).asset.state == "ready"
            await read_variants(connection, large, ids)
    assert {what: count for what, count in reading.most.items() if count > 10 * GROUP} == {}
