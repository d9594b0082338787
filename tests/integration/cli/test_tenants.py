"""`medialane tenants`: origins of browser pages, and deleting a tenant with all that it has and nothing else."""

import json
from functools import partial

import pytest
from support import api, commands
from support.objects import client_of

HOOK = {"url": "https://example.com/hook", "events": ["*"]}
PARTS = "/api/v1/uploads/s3/multipart"


@pytest.fixture
def medialane(database, bucket):
    env = api.environment(database, bucket) | {"MEDIALANE_DATABASE_URL": database.worker}
    return partial(commands.medialane, env, "tenants")


async def furnished(server, operator, session):
    """A tenant with one of everything."""
    tenant = await operator.tenant()
    caller = api.Caller(server.address, tenant.id, (await operator.key(tenant.id)).text, session)
    asset_id = await caller.upload()
    assert (await caller.call("POST", f"/api/v1/assets/{asset_id}/complete"))[0] == 200
    made = (await caller.call("POST", PARTS, {"filename": "f.mp4", "type": "video/mp4", "size": 9}))[1]
    signed = (await caller.call("GET", f"{PARTS}/{made['uploadId']}/1"))[1]
    assert await caller.put({"uploadUrl": signed["url"]}, b"part", content_type="") == 200
    again = {"Idempotency-Key": "hook"}
    assert (await caller.call("POST", "/api/v1/webhooks", HOOK, headers=again))[0] == 201
    return tenant, caller


async def rows_of(operator, tenant_id):
    tables = await operator.rows("""
        SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_name)
        WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
            AND c.table_name !~ '^(outbox|audit_log)'
    """)
    counted = {}
    for table in (row["table_name"] for row in tables):
        (row,) = await operator.rows(
            f"SELECT count(*) FROM {table} WHERE CAST(tenant_id AS text) = :id", id=str(tenant_id)
        )
        counted[table] = row["count"]
    return {table: count for table, count in counted.items() if count}


async def test_a_deleted_tenant_leaves_nothing_and_others_stay(server, operator, session, medialane, database, bucket):
    tenant, caller = await furnished(server, operator, session)
    other, untouched = await furnished(server, operator, session)
    client = client_of(bucket)
    for owner in (tenant, other):
        client.put_object(Bucket=bucket.bucket, Key=f"media/{owner.id}/{'ab' * 32}/thumbnail.v1.webp", Body=b"1")

    def objects(owner):
        found = client.list_objects_v2(Bucket=bucket.bucket).get("Contents", ())
        return [item["Key"] for item in found if str(owner.id) in item["Key"]]

    def open_parts(owner):
        found = client.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads", ())
        return [item["Key"] for item in found if str(owner.id) in item["Key"]]

    before = await rows_of(operator, tenant.id)
    assert {"assets", "jobs", "asset_events", "webhook_endpoints", "api_keys", "idempotency_keys"} <= set(before)
    dry = medialane("delete", tenant.slug, "--json")
    assert json.loads(dry.stdout) == {"assets": 2, "bytes": 14, "keys": 1, "webhooks": 1, "objects": 0}
    assert (await rows_of(operator, tenant.id), len(objects(tenant))) == (before, 2)

    done = medialane("delete", tenant.slug, "--apply", "--json")
    assert json.loads(done.stdout) == {"assets": 2, "bytes": 14, "keys": 1, "webhooks": 1, "objects": 2}, done.stderr
    assert (await rows_of(operator, tenant.id), objects(tenant), open_parts(tenant)) == ({}, [], [])
    noted = await operator.rows(
        "SELECT action, detail FROM audit_log WHERE subject = :slug ORDER BY at", slug=tenant.slug
    )
    assert [row["action"] for row in noted] == ["tenant.shut_out", "tenant.delete"]
    assert noted[1]["detail"]["objects"] == 2
    with api.running(api.environment(database, bucket)) as fresh:
        caller.base = fresh.address
        assert (await caller.call("GET", "/api/v1/assets"))[0] == 401
    assert len((await untouched.call("GET", "/api/v1/assets"))[1]["data"]["items"]) == 2
    assert (len(objects(other)), len(open_parts(other))) == (2, 1)
    again = medialane("delete", tenant.slug, "--apply")
    assert (again.returncode, "There is no tenant" in again.stderr) == (1, True)


async def test_origins_are_shown_and_replaced(operator, medialane):
    slug = (await operator.tenant()).slug
    assert medialane("origins", slug).stdout == ""
    assert medialane("origins", slug, "https://app.example", "http://localhost:3000").returncode == 0
    assert medialane("origins", slug).stdout.splitlines() == ["https://app.example", "http://localhost:3000"]
    assert "is no origin" in medialane("origins", slug, "app.example").stderr
    assert medialane("origins", slug, "--none").returncode == 0
    assert medialane("origins", slug).stdout == ""
