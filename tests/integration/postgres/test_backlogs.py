"""What is asked again and again costs by tenants or by pages, never by how much waits or lies there."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from support.plans import nodes_of, rows_read

from connectors.postgres.accounts import asset_counts
from connectors.postgres.assets import variants
from connectors.postgres.protocol import breakers, keeper, replay
from connectors.postgres.protocol import credits as credit

MANY = 5000
WAIT = """
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, reason, job_class)
    SELECT gen_random_uuid(), :t, :a, 1 + n, 'image.primary', 'jobs.image', 'waiting', :reason, 'bulk'
    FROM generate_series(1, :many) AS n
"""
ASSETS = """
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, created_at)
    SELECT gen_random_uuid(), :t, 'ready', 'image', 'a.jpg', 'image/jpeg', 2, 'uploads/' || :t || '/' || n,
        now() - n * interval '1 minute'
    FROM generate_series(1, :many) AS n
"""


async def cost(worker, statement, **values):
    """The rows that a statement looks at; what it does is undone."""
    async with worker.transaction() as connection:
        nodes = await nodes_of(connection, statement, values, analyze=True)
        await connection.rollback()
    return sum(rows_read(node) for node in nodes if "Relation Name" in node and node["Node Type"] != "ModifyTable")


@pytest.fixture
async def full(worker, seed):
    """A tenant whose only credit is taken, and another one that has credit to spare."""
    full, spare = [await seed.asset(worker, await seed.tenant(worker)) for _ in range(2)]
    await seed.change(worker, "UPDATE tenants SET credits = 1 WHERE id = :t", t=full.tenant_id)
    yield full, spare
    await seed.change(worker, "DELETE FROM tenants WHERE id IN (:a, :b)", a=full.tenant_id, b=spare.tenant_id)


@pytest.fixture
def analyze(database):
    """Let the planner know what is there; only the owner may."""

    def analyze():
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute("ANALYZE assets, jobs, variants")

    return analyze


async def wait(worker, seed, made, reason, many):
    await seed.change(worker, WAIT, t=made.tenant_id, a=made.asset_id, reason=reason, many=many)


async def open_breaker(worker, tenant_id, *, held=True):
    async with worker.transaction() as connection:
        await breakers.set_breaker(connection, tenant_id, held=held, actor="t")


async def test_what_waits_for_credit_is_not_walked_over(worker, seed, full, analyze):
    mine, other = full
    await wait(worker, seed, mine, "credit", MANY)
    await wait(worker, seed, other, "credit", 1)
    analyze()
    assert await cost(worker, credit._MEND, batch=5, reemit=30) < 100
    async with worker.transaction() as connection:
        assert await credit.mend(connection, batch=500) == 1


async def test_what_waits_for_a_time_is_not_walked_over_when_credit_is_given(worker, seed, full, analyze):
    """An outage of the store puts every job of a tenant there; only what lanes sent back counts."""
    _, other = full
    await wait(worker, seed, other, "retry", MANY)
    await seed.change(
        worker, "UPDATE jobs SET due_at = now() + interval '1 hour' WHERE tenant_id = :t AND reason = 'retry'",
        t=other.tenant_id,
    )  # fmt: skip
    await wait(worker, seed, await seed.asset(worker, other.tenant_id), "credit", 3)
    analyze()
    assert await cost(worker, credit._MEND, batch=5, reemit=30) < 100


async def test_what_waits_behind_an_open_breaker_is_not_walked_over(worker, seed, full, analyze):
    mine, other = full
    await wait(worker, seed, mine, "breaker", MANY)
    await wait(worker, seed, other, "breaker", 3)
    analyze()
    await open_breaker(worker, mine.tenant_id)
    assert await cost(worker, breakers._LET_GO, batch=5) < 100
    async with worker.transaction() as connection:
        assert await breakers.let_go(connection, batch=2) == 2
        assert await breakers.let_go(connection, batch=2) == 1


async def test_what_an_opening_breaker_holds_back_costs_by_the_batch_and_each_tenant_has_its_part(
    worker, seed, full, analyze
):
    mine, other = full
    await seed.change(worker, "UPDATE jobs SET state = 'done' WHERE id IN (:a, :b)", a=mine.job_id, b=other.job_id)
    await wait(worker, seed, mine, "credit", MANY)
    await wait(worker, seed, other, "credit", 1)
    for one in full:
        await open_breaker(worker, one.tenant_id)
    assert await cost(worker, breakers._PARK, batch=4) < 50, "before anybody counted what is there, too"
    analyze()
    assert await cost(worker, breakers._PARK, batch=4) < 50
    held = "SELECT count(*) FROM jobs WHERE tenant_id = :t AND reason = 'breaker'"
    for act, of_each in ((breakers.park, [2, 1]), (breakers.let_go, [0, 0])):
        async with worker.transaction() as connection:
            assert await act(connection, batch=4) == 3
        assert [(await seed.column(worker, held, t=one.tenant_id))[0] for one in full] == of_each
        for one in full:
            await open_breaker(worker, one.tenant_id, held=False)


async def test_what_is_due_of_one_tenant_is_not_walked_over_on_the_way_to_anothers(worker, seed, full, analyze):
    mine, other = full
    await wait(worker, seed, mine, "twin", MANY)
    long_ago = "UPDATE jobs SET due_at = now() - interval '1 hour' WHERE tenant_id = :t AND reason = 'twin'"
    await seed.change(worker, long_ago, t=mine.tenant_id)
    now = "UPDATE jobs SET state = 'waiting', reason = 'retry', due_at = now() WHERE id = :j"
    await seed.change(worker, now, j=other.job_id)
    for _ in range(2):
        assert await cost(worker, keeper._DUE, batch=4) < 100
        analyze()
    async with worker.transaction() as connection:
        assert await keeper.emit_due(connection, batch=4) == 3
    assert await seed.column(worker, "SELECT state FROM jobs WHERE id = :j", j=other.job_id) == ["queued"]


async def test_bytes_that_were_uploaded_often_cost_no_more_than_others(worker, seed, analyze):
    tenant_id, sha256 = await seed.tenant(worker), bytes(32)
    await seed.change(worker, ASSETS, t=tenant_id, many=MANY)
    await seed.change(
        worker,
        """
        INSERT INTO variants (id, tenant_id, asset_id, generation, profile, profile_version, content_sha256, object_key,
            content_type, format, width, height, size, sha256)
        SELECT gen_random_uuid(), tenant_id, id, 1, 'thumbnail', 1, :s, 'media/' || id, 'image/webp', 'webp', 1, 1, 1, :s
        FROM assets WHERE tenant_id = :t
        """,
        t=tenant_id, s=sha256,
    )  # fmt: skip
    analyze()
    for version in (0, 1, 2):
        values = {"tenant_id": tenant_id, "sha256": sha256, "profiles": ["thumbnail"], "versions": [version]}
        assert await cost(worker, variants._OF_CONTENT, **values) <= 1


async def test_a_search_for_what_lacks_a_profile_looks_at_a_page_of_its_tenants_assets_since_a_day(
    worker, seed, analyze
):
    """The assets of all times and of others cost it nothing, whether any of them lacks anything or not."""
    tenants = [await seed.tenant(worker) for _ in range(2)]
    for tenant_id in tenants:
        await seed.change(worker, ASSETS, t=tenant_id, many=MANY)
    await seed.change(worker, "UPDATE assets SET state = 'failed' WHERE tenant_id = :t", t=tenants[0])
    analyze()
    values = {"kind": "image", "profile": "thumbnail", "version": 1, "animated": False, "look_at": 20}
    for tenant_id, minutes, least in ((tenants[0], MANY, 20), (tenants[1], 10, 9)):
        place = replay.Place(datetime.now(UTC) - timedelta(minutes=minutes))._asdict()
        looked = await cost(worker, replay._BEHIND, tenant_id=tenant_id, **values, **place)
        assert least <= looked <= 3 * 20, "the page, and for each of it a variant and a job at most"


@pytest.mark.parametrize("statement", [asset_counts._ALL, asset_counts._LIVE], ids=["all", "live"])
async def test_a_tenants_assets_are_counted_by_the_page(worker, seed, analyze, statement):
    tenant_id = await seed.tenant(worker)
    await seed.change(worker, ASSETS, t=tenant_id, many=MANY)
    analyze()
    values = {"tenant_id": tenant_id, "at": datetime(1, 1, 1, tzinfo=UTC), "after": UUID(int=0), "page": 20}
    assert await cost(worker, statement, **values) == 20
