"""A tenant sees and touches only its own: by the queries, and by the database alone when the queries forget."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa
from support.api import SIGNING_KEY
from support.media import thumbnail

from api.media.grants import Grant, GrantSigner, object_id
from connectors.postgres import idempotency
from connectors.postgres.accounts import keys
from connectors.postgres.assets import lifecycle as assets
from connectors.postgres.assets import originals, variants
from connectors.postgres.assets import views as asset_views
from connectors.postgres.assets.variants import Addition, add_variants
from connectors.postgres.protocol import cancel, completing, replay
from connectors.postgres.webhooks import delivery_views, endpoint_secrets, endpoint_tests, endpoints, resending
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.scopes import Scope
from schemas.states import MediaKind

IN_PARTS = "/api/v1/uploads/s3/multipart/{asset_id}"
BODIES = {
    f"{IN_PARTS}/complete": {"parts": [{"PartNumber": 1, "ETag": "x"}]},
    "/api/v1/webhooks/{endpoint_id}/recover": {"since": "2026-01-31T12:00:00Z"},
}
"""Of routes that would refuse an empty body before they look for the id."""

FILE = "thumbnail.v1.webp"
VARIANT = thumbnail(f"media/t/c/{FILE}")
HOOK = {"url": "https://example.com/hook", "events": ["*"]}


@pytest.fixture
async def foreign(new_caller, operator):
    """Another tenant, with one of everything that has an id."""
    other = await new_caller()
    asset_id = await other.upload()
    parts = {"filename": "a.jpg", "type": "image/jpeg", "size": 5}
    in_parts = (await other.call("POST", "/api/v1/uploads/s3/multipart", parts))[1]["uploadId"]
    status, answer, _ = await other.call("POST", "/api/v1/webhooks", HOOK)
    assert status == 201
    async with operator.database.transaction() as connection:
        await add_variants(connection, [Addition(other.tenant_id, asset_id, 1, [VARIANT])])
    key = await operator.key(other.tenant_id)
    return other, {
        "asset_id": asset_id, "endpoint_id": answer["data"]["id"], "key_id": str(key.id), "in_parts": in_parts,
        "delivery_id": str(await operator.delivery(answer["data"]["id"])),
    }  # fmt: skip


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


def names_in_paths(caller, asset_id):
    """What stands in paths beside ids; the token grants, to the caller's tenant, a variant of that asset."""
    grant = Grant(
        tenant_id=caller.tenant_id, asset_id=UUID(asset_id), name=VARIANT.profile,
        object_id=object_id(VARIANT.object_key), ends_at=2**32 - 1,
    )  # fmt: skip
    return {
        "number": 1, "name": VARIANT.profile, "file_name": FILE, "token": GrantSigner(SIGNING_KEY).seal(grant),
    }  # fmt: skip


async def test_another_tenants_ids_do_not_exist_on_any_route(caller, foreign, operator):
    other, ids = foreign
    admin = await operator.key(caller.tenant_id, scopes=(Scope.ADMIN,))
    for method, path in await routes_with_ids(caller):
        parts = {"asset_id": ids["in_parts"]} if path.startswith(IN_PARTS) else {}
        for known in (ids | parts, dict.fromkeys(ids, str(uuid7()))):
            body = BODIES.get(path, {}) if method in {"POST", "PUT", "PATCH"} else None
            address = path.format(**known, **names_in_paths(caller, known["asset_id"])) + (
                "?partNumbers=1" if path.endswith("/batch") else ""
            )
            status, answer, _ = await caller.call(method, address, body, key=admin.text)
            assert (status, answer["code"]) == (404, "not_found"), (method, path, answer)
    rows = await operator.rows(
        """SELECT state, (SELECT deleted_at FROM webhook_endpoints WHERE id = :endpoint_id) FROM assets
           WHERE id IN (:asset_id, :in_parts)""",
        **ids,
    )
    assert [tuple(row.values()) for row in rows] == [("pending", None)] * 2
    assert (await other.call("GET", IN_PARTS.format(asset_id=ids["in_parts"])))[0] == 200, "its owner's there is"


async def test_another_tenants_ids_in_a_body_do_not_exist_either(caller, foreign, operator):
    _, ids = foreign
    mine = await caller.upload()
    wanted = {"assetIds": [ids["asset_id"], mine]}
    status, answer, _ = await caller.call("POST", "/api/v1/assets/complete", wanted)
    assert (status, [one.get("code") for one in answer["data"]]) == (200, ["not_found", None])
    rows = await operator.rows("SELECT state FROM assets WHERE id = :id", id=ids["asset_id"])
    assert rows[0]["state"] == "pending"


async def test_lists_show_only_ones_own(caller, foreign):
    assert (await caller.call("GET", "/api/v1/assets"))[1]["data"]["items"] == []
    assert (await caller.call("GET", "/api/v1/webhooks"))[1]["data"] == []


_FILTER = re.compile(r"(?:\b\w+\.)?tenant_id = :tenant_id AND ")


def _filters(statement):
    # Placements are looked up by the tenant as a value: nothing to take out there.
    return "WHERE" in statement.text and _FILTER.search(statement.text) and "INSERT" not in statement.text


def _unfiltered(statement):
    return sa.text(_FILTER.sub("", statement.text))


@pytest.fixture
def no_filters(monkeypatch):
    """The queries' own filter taken out of every statement that has one."""
    stripped = 0
    for module in (
        assets,
        asset_views,
        cancel,
        completing,
        endpoint_secrets,
        endpoint_tests,
        delivery_views,
        endpoints,
        idempotency,
        keys,
        originals,
        resending,
        variants,
    ):
        for name, found in vars(module).copy().items():
            if isinstance(found, sa.TextClause) and _filters(found):
                monkeypatch.setattr(module, name, _unfiltered(found))
                stripped += 1
    assert stripped >= 32
    for module, example in ((asset_views, ((), 0)), (delivery_views, ((),))):
        page = module._page
        assert _filters(page(*example))
        monkeypatch.setattr(module, "_page", lambda *asked, page=page: _unfiltered(page(*asked)))
    monkeypatch.setattr(
        resending, "_RECOVER", {which: _unfiltered(found) for which, found in resending._RECOVER.items()}
    )


async def deliveries_are_not_there(connection, tenant, ids, monkeypatch):
    """Nor can they be sent again, were the endpoint taken for the tenant's own."""
    endpoint, delivery = ids["endpoint_id"], ids["delivery_id"]
    assert not await delivery_views.knows_endpoint(connection, tenant, endpoint)
    assert await delivery_views.list_deliveries(connection, tenant, endpoint, limit=10) == ((), None)
    assert await delivery_views.read_delivery(connection, tenant, endpoint, delivery) is None
    with pytest.raises(MedialaneError):
        await resending.check_open(connection, tenant, endpoint)

    async def is_open(*_, **__):
        pass

    with monkeypatch.context() as taken:
        taken.setattr(resending, "check_open", is_open)
        with pytest.raises(MedialaneError):
            await resending.resend(connection, tenant, endpoint, delivery, actor="t")
        span = resending.Span(since=datetime(2020, 1, 1, tzinfo=UTC))
        for which in resending.Which:
            assert await resending.count_recoverable(connection, tenant, endpoint, span, which) == (0, False)
            assert await resending.recover(connection, tenant, endpoint, span, which, actor="t") == (0, None)


async def test_row_level_security_alone_keeps_tenants_apart(no_filters, caller, foreign, app, operator, monkeypatch):
    _, ids = foreign
    mine = await caller.upload()
    await operator.rows("UPDATE assets SET tags = '{both}' RETURNING id")
    async with app.tenant(caller.tenant_id) as connection:
        tenant = caller.tenant_id
        assert await assets.find_upload(connection, tenant, ids["asset_id"]) is None
        completed = [completing.Completed(ids["asset_id"], "x", None)]
        assert await completing.complete_assets(connection, tenant, completed) == [False]
        assert await asset_views.read_asset(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_state(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_progress(connection, tenant, ids["asset_id"]) is None
        assert await originals.find_original(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_events(connection, tenant, ids["asset_id"], after=0, limit=10) == ()
        assert not await assets.change_asset(connection, tenant, ids["asset_id"], metadata={"a": "b"}, tags=None)
        assert await asset_views.read_variants(connection, tenant, [ids["asset_id"]]) == {}
        assert await variants.readable(connection, tenant, ids["asset_id"], [VARIANT.profile]) == ()
        assert not await endpoints.delete_endpoint(connection, tenant, ids["endpoint_id"])
        assert await endpoints.list_endpoints(connection, tenant) == ()
        hook = UUID(ids["endpoint_id"])
        assert await endpoints.read_endpoint(connection, tenant, hook) is None
        assert await endpoints.change_endpoint(connection, tenant, hook, url="https://mine.example/") is None
        rotation = {"sealed_secret": b"mine", "overlap_s": 0}
        assert await endpoint_secrets.rotate_secret(connection, tenant, hook, **rotation) is None
        with pytest.raises(MedialaneError, match="not_found"):
            await endpoint_tests.testable_endpoint(connection, tenant, hook)
        await deliveries_are_not_there(connection, tenant, ids, monkeypatch)
        assert not await keys.revoke_own_key(connection, tenant, ids["key_id"])
        assert await keys.rotate_key(connection, tenant, ids["key_id"], overlap_s=1, expires_at=None) is None
        await assets.extend_upload(connection, tenant, ids["asset_id"], datetime(2100, 1, 1, tzinfo=UTC))
        for where in (asset_views.EVERY_ASSET, asset_views.AssetFilter(tags=("both",), kind=MediaKind.IMAGE)):
            listed = await asset_views.list_assets(connection, tenant, limit=100, where=where)
            assert [str(row.id) for row in listed] == [mine]
    for act in (cancel.cancel_asset, cancel.delete_asset, replay.process_again):
        with pytest.raises(MedialaneError) as refused:
            async with app.tenant(caller.tenant_id) as connection:
                await act(connection, caller.tenant_id, UUID(ids["asset_id"]), actor="t")
        assert refused.value.code is ErrorCode.NOT_FOUND
    asset = (await operator.rows("SELECT state, upload_expires_at FROM assets WHERE id = :id", id=ids["asset_id"]))[0]
    assert (asset["state"], asset["upload_expires_at"].year < 2100) == ("pending", True)
    key = await operator.rows("SELECT revoked_at, expires_at FROM api_keys WHERE id = :id", id=ids["key_id"])
    assert tuple(key[0].values()) == (None, None)


async def test_row_level_security_alone_keeps_the_same_idempotency_key_of_two_tenants_apart(
    no_filters, new_caller, app
):
    answer = idempotency.Answer(200, b"theirs")
    theirs, mine = (await new_caller()).tenant_id, (await new_caller()).tenant_id
    async with app.tenant(theirs) as connection:
        claim = await idempotency.claim(connection, theirs, "k", b"f" * 32)
        assert await idempotency.finish(connection, theirs, "k", claim, answer)
    async with app.tenant(mine) as connection:
        claim = await idempotency.claim(connection, mine, "k", b"f" * 32)
        assert isinstance(claim, idempotency.Claim)
        assert await idempotency.claim(connection, mine, "k", b"f" * 32) is idempotency.Refusal.RUNNING
        await idempotency.release(connection, mine, "k", claim)
    async with app.tenant(theirs) as connection:
        assert await idempotency.claim(connection, theirs, "k", b"f" * 32) == answer


async def test_the_filters_of_the_queries_alone_would_do_too(caller, foreign, operator, monkeypatch):
    _, ids = foreign
    async with operator.database.transaction() as connection:  # the worker role sees every tenant
        tenant = caller.tenant_id
        assert await assets.find_upload(connection, tenant, ids["asset_id"]) is None
        assert await asset_views.read_asset(connection, tenant, ids["asset_id"]) is None
        assert await variants.readable(connection, tenant, ids["asset_id"], [VARIANT.profile]) == ()
        assert await endpoints.list_endpoints(connection, tenant) == ()
        assert await endpoints.read_endpoint(connection, tenant, UUID(ids["endpoint_id"])) is None
        assert await asset_views.list_assets(connection, tenant, limit=100) == ()
        await deliveries_are_not_there(connection, tenant, ids, monkeypatch)


async def test_the_app_role_sees_nothing_without_a_tenant_and_no_outbox_ever(app, foreign, caller):
    async with app.transaction() as connection:
        for table in ("assets", "webhook_endpoints", "webhook_deliveries", "api_keys", "tenants", "jobs"):
            assert (await connection.execute(sa.text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        async with app.tenant(caller.tenant_id) as connection:
            await connection.execute(sa.text("SELECT count(*) FROM outbox"))


async def test_a_row_cannot_be_written_for_another_tenant(app, foreign, caller):
    other, _ = foreign
    with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
        async with app.tenant(caller.tenant_id) as connection:
            await endpoints.register_endpoint(
                connection, other.tenant_id, url="https://example.com/", sealed_secret=b"x", events=["*"]
            )
