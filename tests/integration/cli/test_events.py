"""`medialane events export`: lines that say what the topic's records say, of as many as were meant."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from support import protocol, seed

from cli import events
from cli.main import medialane
from connectors.postgres.database import Database
from schemas.generate import asyncapi
from schemas.settings import DatabaseSettings

_ROWS = """
    SELECT json_build_array(kkey, id, type, aggregateid, tenant_id, CAST(seq AS text), payload) FROM outbox
    WHERE aggregatetype = 'events' AND tenant_id = ANY(:t) ORDER BY tenant_id, aggregateid, seq
"""
_PLACED = ("ce_id", "ce_type", "ce_subject", "ce_tenantid", "ce_seq")


@pytest.fixture
def work(database, monkeypatch):
    """Run what is given on the database that commands work with, a few assets to a page."""
    monkeypatch.setenv("MEDIALANE_DATABASE_URL", database.worker)
    monkeypatch.setattr(events, "_LOOK_AT", 2)

    def run(what):
        async def opened():
            async with Database(DatabaseSettings(url=database.worker, pool_size=2), application="test") as found:
                return await what(found)

        return asyncio.run(opened())

    return run


def export(*arguments):
    ran = CliRunner().invoke(medialane, ["events", "export", *arguments])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.stderr.endswith(f"{len(lines)} events\n")
    return lines


@pytest.fixture
def tenants(work):
    """The ids of two tenants by their slugs, of whose assets three and one have become ready."""

    async def prepared(database):
        made = {}
        for count in (3, 1):
            tenant = await seed.tenant(database)
            (slug,) = await seed.column(database, "SELECT slug FROM tenants WHERE id = :t", t=tenant)
            made[slug] = str(tenant)
            for _ in range(count):
                asset = await seed.asset(database, tenant)
                job = await seed.claim(database, asset)
                async with database.transaction() as connection:
                    await protocol.join(connection, job, asset.asset_id.bytes * 2)
                    await protocol.finish(connection, job, asset.asset_id.bytes * 2)
        return made

    return work(prepared)


def test_lines_say_what_the_topics_records_say(work, tenants):
    rows = work(lambda database: seed.column(database, _ROWS, t=list(tenants.values())))
    in_order = [tenants[slug] for slug in sorted(tenants)]
    rows.sort(key=lambda row: in_order.index(row[4]))
    lines = [line for line in export() if line["headers"]["ce_tenantid"] in tenants.values()]
    told = [[line["key"], *(line["headers"][name] for name in _PLACED), line["payload"]] for line in lines]
    assert told == [[*row[:-1], json.loads(row[-1])] for row in rows]
    for line in lines:
        assert {name: line["headers"][name] for name in line["headers"] if name not in _PLACED} == {
            "ce_specversion": "1.0", "ce_source": "medialane", "traceparent": None,
        }  # fmt: skip
        published = asyncapi()["components"]["messages"][line["payload"]["type"]]["headers"]["properties"]
        assert set(line["headers"]) == set(published)


def test_only_what_is_meant_is_written(work, tenants):
    slug, other = tenants
    ready = export("--tenant", slug, "--type", "asset.ready")
    assert [line["payload"]["type"] for line in ready] == ["asset.ready"] * 3
    keys = [line["key"] for line in ready]
    assert keys == sorted(keys), "by age"
    assert {line["headers"]["ce_type"] for line in export("--tenant", other, "--type", "job.started", "--type", "job.done")} == {
        "job.started", "job.done",
    }  # fmt: skip
    older = "UPDATE asset_events SET created_at = now() - interval '2 days' WHERE asset_id = ANY(CAST(:a AS uuid[]))"
    work(lambda database: seed.change(database, older, a=keys[:2]))
    assert {line["key"] for line in export("--tenant", slug, "--since", "1d")} == {keys[2]}
    assert export("--tenant", slug, "--limit", "4") == export("--tenant", slug)[:4]
