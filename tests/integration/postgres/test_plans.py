"""What runs over and over stays as fast when tables have grown: each statement finds its rows by an index."""

from datetime import UTC, datetime
from types import ModuleType
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from support.plans import nodes_of

from connectors.postgres import idempotency
from connectors.postgres.assets import abandoned, purge
from connectors.postgres.placement import partition_views
from connectors.postgres.protocol import content, keeper

ROWS = 30_000
TENANT, ASSET = UUID(int=1), UUID(int=2)
# Many rows that are done with, few that are not, as after some months.
FILL = f"""
    INSERT INTO tenants (id, slug) VALUES ('{TENANT}', 'many');
    CREATE TEMP TABLE n AS SELECT i, gen_random_uuid() AS id, sha256(i::text::bytea) AS sha256,
        now() - i * interval '1 minute' AS at FROM generate_series(1, {ROWS}) AS i;
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, content_sha256,
        created_at, uploaded_at, finished_at, deleted_at, purged_at)
    SELECT id, '{TENANT}', CASE WHEN i % 3 = 0 THEN 'deleted' WHEN i % 1000 = 1 THEN 'failed' ELSE 'ready' END,
        CASE WHEN i % 1000 = 2 THEN 'audio' ELSE 'image' END, 'a.jpg', 'image/jpeg', 3, 'uploads/' || id, sha256,
        at, at, at, CASE WHEN i % 3 = 0 THEN at END, CASE WHEN i % 3 = 0 AND i % 500 <> 0 THEN at END FROM n;
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, reason, due_at, lease_until,
        next_emit_at, content_sha256, created_at, finished_at, report)
    SELECT gen_random_uuid(), '{TENANT}', id, 1, 'image.primary', 'jobs.image', state,
        CASE state WHEN 'waiting' THEN 'retry' END, CASE state WHEN 'waiting' THEN at END,
        CASE state WHEN 'running' THEN at END, CASE state WHEN 'queued' THEN at END, sha256, at,
        CASE state WHEN 'done' THEN at END, jsonb_build_object('steps', repeat('x', 300))
    FROM (SELECT n.*, CASE i % 1000 WHEN 1 THEN 'waiting' WHEN 2 THEN 'queued' WHEN 3 THEN 'running' ELSE 'done' END
        AS state FROM n) AS n;
    INSERT INTO variants (id, tenant_id, asset_id, generation, profile, profile_version, content_sha256, object_key,
        content_type, format, width, height, size, sha256)
    SELECT gen_random_uuid(), '{TENANT}', id, 1, 'thumbnail', 1, sha256, 'media/' || id, 'image/webp', 'webp', 1, 1, 1,
        sha256 FROM n;
    INSERT INTO content (tenant_id, sha256, state, leader_job_id) SELECT '{TENANT}', sha256, 'done', id FROM n;
    INSERT INTO idempotency_keys (tenant_id, key, fingerprint, state, created_at)
    SELECT '{TENANT}', i, '', 'done', at FROM n;
    ANALYZE assets, jobs, variants, content, idempotency_keys;
"""
LARGE = {"assets", "jobs", "variants", "content", "idempotency_keys"}
# Batches are to these tables what theirs are to tables of millions.
VALUES = {
    "after": UUID(int=0), "after_id": ASSET, "after_time": datetime(2020, 1, 1, tzinfo=UTC), "age": 3600, "batch": 20,
    "bound": 30, "check": 60, "code": "truncated", "contents": [bytes(32)], "detail": "", "going": True, "id": ASSET, "ids": [ASSET],
    "keep": 86400, "kept": 86400, "keys": ["uploads/a"], "lease_s": 0, "limit": 20, "max_deaths": 3, "reemit": 30,
    "sha256": bytes(32), "slot": "s", "stages": ["image.primary"],
    "tenant_id": TENANT, "tenants": [TENANT],
}  # fmt: skip


def statements(module: ModuleType) -> dict[str, sa.TextClause]:
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": found
        for name, found in vars(module).items()
        if isinstance(found, sa.TextClause)
    }


ASKED = {name: found for module in (keeper, purge, abandoned) for name, found in statements(module).items()} | {
    "content.let_sleep": content._PRIMARY.let_sleep,
    "content_stages.let_sleep": content._SECONDARY.let_sleep,
    "idempotency._PURGE": idempotency._PURGE,
    "partition_views._STATES": partition_views._STATES,
}


@pytest.fixture(scope="module")
def filled(database):
    with psycopg.connect(database.owner) as owner:
        owner.execute(FILL)


async def read_whole(connection, statement, values):
    """The large tables that the plan of a statement reads from end to end."""
    # An index that holds few of the rows may be read as a whole; any other is the table once more.
    complete = "SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_index WHERE indpred IS NULL"
    tables = {row[0]: row[1] for row in await connection.execute(sa.text(complete))}
    found = set()
    for node in await nodes_of(connection, statement, values):
        if node["Node Type"] == "Seq Scan":
            found.add(node["Relation Name"])
        elif "Index Name" in node and "Index Cond" not in node:
            found.add(tables.get(node["Index Name"]))
    return found & LARGE


@pytest.mark.parametrize("name", ASKED)
async def test_no_large_table_is_read_as_a_whole(worker, filled, name):
    statement = ASKED[name]
    values = {key: VALUES[key] for key in statement._bindparams}
    async with worker.transaction() as connection:
        assert await read_whole(connection, statement, values) == set()
