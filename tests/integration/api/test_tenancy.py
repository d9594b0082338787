"""A tenant sees and touches only its own: by the queries, and by the database alone when the queries forget."""

import re

import pytest
import sqlalchemy as sa

from connectors.postgres import asset_views, assets, endpoints
from connectors.postgres.database import Database
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings

HOOK = {"url": "https://example.com/hook", "events": ["*"]}


@pytest.fixture
async def foreign(new_caller):
    """Another tenant, with one of everything that has an id."""
    other = await new_caller()
    asset_id = await other.upload()
    status, answer, _ = await other.call("POST", "/api/v1/webhooks", HOOK)
    assert status == 201
    return other, {"asset_id": asset_id, "endpoint_id": answer["data"]["id"]}


async def routes_with_ids(caller):
    """Every route that takes an id, as the API itself describes them: a new one is in this test by itself."""
    _, described, _ = await caller.call("GET", "/schema/openapi.json")
    found = [
        (method.upper(), path)
        for path, methods in described["paths"].items()
        for method in methods
        if "{" in path and method in {"get", "post", "put", "patch", "delete"}
    ]
    assert len(found) >= 4
    return found


async def test_another_tenants_ids_do_not_exist_on_any_route(caller, foreign, operator):
    _, ids = foreign
    for method, path in await routes_with_ids(caller):
        for known in (ids, dict.fromkeys(ids, str(uuid7()))):
            status, answer, _ = await caller.call(method, path.format(**known))
            assert (status, answer["code"]) == (404, "not_found"), (method, path)
    rows = await operator.rows(
        "SELECT state, (SELECT deleted_at FROM webhook_endpoints WHERE id = :endpoint_id) FROM assets WHERE id = :asset_id",
        **ids,
    )
    assert tuple(rows[0].values()) == ("pending", None)


async def test_lists_show_only_ones_own(caller, foreign):
    assert (await caller.call("GET", "/api/v1/assets"))[1]["data"]["items"] == []
    assert (await caller.call("GET", "/api/v1/webhooks"))[1]["data"] == []


_FILTER = re.compile(r"tenant_id = :tenant_id AND ")


@pytest.fixture
def no_filters(monkeypatch):
    """The queries' own filter taken out of every statement that has one."""
    stripped = 0
    for module in (assets, asset_views, endpoints):
        for name, statement in vars(module).copy().items():
            if isinstance(statement, sa.TextClause) and "WHERE" in statement.text and _FILTER.search(statement.text):
                # Placements are looked up by the tenant as a value: nothing to take out there.
                if "INSERT" in statement.text:
                    continue
                monkeypatch.setattr(module, name, sa.text(_FILTER.sub("", statement.text)))
                stripped += 1
    assert stripped >= 7
    return stripped


@pytest.fixture
async def app_database(database):
    async with Database(DatabaseSettings(url=database.app, pool_size=2), application="test") as opened:
        yield opened


async def test_row_level_security_alone_keeps_tenants_apart(no_filters, caller, foreign, app_database, operator):
    _, ids = foreign
    mine = await caller.upload()
    async with app_database.tenant(caller.tenant_id) as connection:
        tenant = caller.tenant_id
        assert await assets.find_upload(connection, tenant, ids["asset_id"]) is None
        assert not await assets.complete_asset(connection, tenant, ids["asset_id"], etag="x", traceparent=None)
        assert await asset_views.read_asset(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_variants(connection, tenant, [ids["asset_id"]]) == {}
        assert not await endpoints.delete_endpoint(connection, tenant, ids["endpoint_id"])
        assert await endpoints.list_endpoints(connection, tenant) == ()
        listed = await asset_views.list_assets(connection, tenant, limit=100)
        assert [str(row.id) for row in listed] == [mine]
    state = await operator.rows("SELECT state FROM assets WHERE id = :id", id=ids["asset_id"])
    assert state[0]["state"] == "pending"


async def test_the_filters_of_the_queries_alone_would_do_too(caller, foreign, operator):
    _, ids = foreign
    async with operator.database.transaction() as connection:  # the worker role sees every tenant
        tenant = caller.tenant_id
        assert await assets.find_upload(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_asset(connection, tenant, ids["asset_id"]) is None
        assert await endpoints.list_endpoints(connection, tenant) == ()
        assert await asset_views.list_assets(connection, tenant, limit=100) == ()


async def test_the_app_role_sees_nothing_without_a_tenant_and_no_outbox_ever(app_database, foreign, caller):
    async with app_database.transaction() as connection:
        for table in ("assets", "webhook_endpoints", "api_keys", "tenants", "jobs"):
            assert (await connection.execute(sa.text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        async with app_database.tenant(caller.tenant_id) as connection:
            await connection.execute(sa.text("SELECT count(*) FROM outbox"))


async def test_a_row_cannot_be_written_for_another_tenant(app_database, foreign, caller):
    other, _ = foreign
    with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
        async with app_database.tenant(caller.tenant_id) as connection:
            await endpoints.register_endpoint(
                connection, other.tenant_id, url="https://example.com/", sealed_secret=b"x", events=["*"]
            )
