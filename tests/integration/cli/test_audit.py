"""`medialane audit ls`: what was done, by whom, read by operators; of tenants that are gone, too."""

import json
from functools import partial

import pytest
from support import commands


@pytest.fixture
def medialane(database):
    return partial(commands.medialane, {"MEDIALANE_DATABASE_URL": database.worker})


async def test_what_was_done_is_listed_newest_first_and_narrowed(operator, medialane):
    tenant, other = [await operator.tenant() for _ in range(2)]
    for slug in (tenant.slug, other.slug, tenant.slug):
        assert medialane("keys", "mint", slug, "--scope", "assets:read").returncode == 0
    (old,) = await operator.rows(
        "SELECT prefix FROM api_keys WHERE tenant_id = :id ORDER BY created_at LIMIT 1", id=tenant.id
    )
    assert medialane("keys", "revoke", old["prefix"]).returncode == 0

    def listed(*options):
        return json.loads(medialane("audit", "ls", "--json", *options).stdout)

    mine = listed("--tenant", tenant.slug)
    assert [(entry["action"], entry["tenant"]) for entry in mine] == [
        ("key.revoke", tenant.slug), ("key.mint", tenant.slug), ("key.mint", tenant.slug),
    ]  # fmt: skip
    assert mine[1]["detail"] == {"scopes": ["assets:read"]}
    assert listed("--tenant", tenant.slug, "--action", "key.mint") == mine[1:]
    assert listed("--tenant", tenant.slug, "--limit", "1") == mine[:1]
    assert listed("--tenant", tenant.slug, "--since", mine[1]["at"]) == mine[:2]
    assert {entry["tenant"] for entry in listed("--since", "1h")} == {tenant.slug, other.slug}

    said = medialane("audit", "ls", "--tenant", tenant.slug, "--limit", "1")
    assert said.stdout.split()[2:] == [tenant.slug, mine[0]["actor"], "key.revoke", old["prefix"]]
    assert "--limit shows more" in said.stderr
    await operator.rows("DELETE FROM tenants WHERE id = :id RETURNING id", id=tenant.id)
    assert listed("--tenant", str(tenant.id)) == [entry | {"tenant": None} for entry in mine]
    assert medialane("audit", "ls", "--tenant", tenant.slug).returncode == 1
