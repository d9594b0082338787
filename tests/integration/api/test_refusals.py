"""What bad requests get: a status, a code, and the field to blame; never more."""

import asyncio
import json

import pytest

from connectors.postgres.webhooks.endpoints import MAX_ENDPOINTS
from schemas.ids import uuid7
from schemas.scopes import Scope

GOOD = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}
LATIN = b'{"fileName": "caf\xe9.jpg"}'
DEEP = b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b"}"
WIDE = {f"name-{number}": "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 512 for number in range(20)}
HOOK = {"url": "https://example.com/hook", "events": ["asset.ready"]}


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("storage/presign", GOOD | {"size": -5}, "size_out_of_range", "size"),
        ("storage/presign", GOOD | {"size": 0}, "size_out_of_range", "size"),
        ("storage/presign", GOOD | {"size": 10**13}, "size_out_of_range", "size"),
        ("storage/presign", GOOD | {"size": 10**30}, "size_out_of_range", "size"),
        ("storage/presign", GOOD | {"size": "many"}, "invalid_request", "size"),
        ("storage/presign", GOOD | {"size": None}, "invalid_request", "size"),
        ("storage/presign", GOOD | {"contentType": "text/html"}, "unsupported_type", "contentType"),
        ("storage/presign", GOOD | {"contentType": ["image/jpeg"]}, "invalid_request", "contentType"),
        ("storage/presign", GOOD | {"fileName": ""}, "invalid_request", "fileName"),
        ("storage/presign", GOOD | {"fileName": "a\u0000.jpg"}, "invalid_request", "fileName"),
        ("storage/presign", GOOD | {"fileName": "a" * 256}, "invalid_request", "fileName"),
        ("storage/presign", GOOD | {"fileName": "a\u0085.jpg"}, "invalid_request", "fileName"),
        (
            "uploads/s3/multipart",
            {"filename": "a\u0000.jpg", "type": "image/jpeg", "size": 5},
            "invalid_request",
            "filename",
        ),
        ("assets", {"url": "https://example.com/a.jpg", "fileName": "a\n.jpg"}, "invalid_request", "fileName"),
        ("storage/presign", GOOD | {"fileName": "a.jpg\n"}, "invalid_request", "fileName"),
        ("storage/presign", {"fileName": "a.jpg", "size": 5}, "invalid_request", "contentType"),
        ("storage/presign", b'{"fileName": "a.jpg", ', "invalid_request", None),
        ("storage/presign", b"", "invalid_request", None),
        ("storage/presign", b"[]", "invalid_request", None),
        ("storage/presign", b"\xff\xfe", "invalid_request", None),
        ("storage/presign", LATIN, "invalid_request", None),
        ("webhooks", LATIN, "invalid_request", None),
        ("storage/presign", DEEP, "invalid_request", None),
        ("webhooks", DEEP, "invalid_request", None),
        ("uploads/s3/multipart", DEEP, "invalid_request", None),
        ("storage/presign", GOOD | {"metadata": WIDE}, "invalid_request", "metadata"),
        (
            "uploads/s3/multipart",
            {"filename": "a.jpg", "type": "image/jpeg", "size": 5, "metadata": WIDE},
            "invalid_request",
            "metadata",
        ),
        ("assets", {"url": "https://192.0.2.1/a.jpg", "metadata": WIDE}, "invalid_request", "metadata"),
        ("webhooks", HOOK | {"events": []}, "invalid_request", "events"),
        ("webhooks", HOOK | {"events": ["asset.exploded"]}, "invalid_request", "events"),
        ("webhooks", HOOK | {"events": "asset.ready"}, "invalid_request", "events"),
        ("webhooks", {"events": ["asset.ready"]}, "invalid_request", "url"),
    ],
)
async def test_a_malformed_body_names_its_field(caller, path, body, code, field):
    status, answer, _ = await caller.call("POST", f"/api/v1/{path}", body)
    assert (status, answer["status"], answer["code"], answer.get("field")) == (400, "error", code, field)
    assert answer["message"]


@pytest.mark.parametrize(
    "filling", ["a", '"', "\\", "\u0001", "\n", "\u007f", "\N{CJK UNIFIED IDEOGRAPH-6F22}", "\U0001f600"]
)
async def test_metadata_may_have_as_many_bytes_as_the_database_keeps(caller, filling):
    asset_id = (await caller.presign())["assetId"]
    statuses = []
    for count in range(20, 0, -1):
        metadata = {str(number): filling * 512 for number in range(count)}
        change = json.dumps({"metadata": metadata}, ensure_ascii=False).encode()
        status, answer, _ = await caller.call("PATCH", f"/api/v1/assets/{asset_id}", change)
        assert status == 200 or (status, answer["field"]) == (400, "metadata")
        statuses.append(status)
    assert statuses == sorted(statuses, reverse=True)
    assert statuses[-1] == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=abc", "cursor=%00", "state=odd", "createdTo=0.5"]
)
async def test_a_malformed_query_names_its_field(caller, query):
    status, answer, _ = await caller.call("GET", f"/api/v1/assets?{query}")
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", query.partition("=")[0])


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "http://127.0.0.1:9/", "http://10.1.2.3/", "http://localhost/", "http://169.254.169.254/",
     "https://user:pw@example.com/", "nonsense", "http://[::1]/", "http://[@t]@/"],
)  # fmt: skip
async def test_a_webhook_to_such_an_address_is_refused(caller, url):
    status, answer, _ = await caller.call("POST", "/api/v1/webhooks", HOOK | {"url": url})
    assert (status, answer["code"], answer["field"]) == (422, "webhook_url_refused", "url")


async def test_a_tenant_has_a_bounded_number_of_webhooks_however_many_it_asks_for_at_once(caller, new_caller):
    answers = await asyncio.gather(
        *(caller.call("POST", "/api/v1/webhooks", HOOK) for _ in range(MAX_ENDPOINTS + 10)),
    )
    refused = [answer for status, answer, _ in answers if status != 201]
    assert [(answer["code"], str(MAX_ENDPOINTS) in answer["message"]) for answer in refused] == [
        ("quota_exceeded", True)
    ] * 10
    listed = (await caller.call("GET", "/api/v1/webhooks"))[1]["data"]
    assert len(listed) == MAX_ENDPOINTS
    assert (await (await new_caller()).call("POST", "/api/v1/webhooks", HOOK))[0] == 201
    await caller.call("DELETE", f"/api/v1/webhooks/{listed[0]['id']}")
    statuses = [(await caller.call("POST", "/api/v1/webhooks", HOOK))[0] for _ in range(2)]
    assert statuses == [201, 403]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi", "Bearer mp_000000000000_" + "0" * 48, "Bearer mp_a_b"],
)
async def test_without_a_good_key_nobody_gets_in(caller, header):
    for method, path in [("POST", "storage/presign"), ("GET", "assets"), ("GET", "webhooks")]:
        status, answer, headers = await caller.call(method, f"/api/v1/{path}", headers={"Authorization": header})
        assert (status, answer["code"]) == (401, "unauthenticated")
        told = ', error="invalid_token"' if header.startswith("Bearer ") and header != "Bearer " else ""
        assert headers["WWW-Authenticate"] == f'Bearer realm="medialane"{told}'


async def test_a_key_with_a_wrong_secret_is_not_let_in(caller):
    wrong = caller.key[:-1] + ("0" if caller.key[-1] != "0" else "1")
    assert (await caller.call("GET", "/api/v1/assets", key=wrong))[0] == 401


async def test_revoked_and_expired_keys_are_useless(caller, operator):
    revoked = await operator.key(caller.tenant_id)
    await operator.revoke(revoked)
    expired = await operator.key(caller.tenant_id, expires_in_s=-1)
    for key in (revoked, expired):
        status, answer, _ = await caller.call("GET", "/api/v1/assets", key=key.text)
        assert (status, answer["code"]) == (401, "unauthenticated")


async def test_a_revocation_reaches_a_process_that_knows_the_key(caller, operator):
    key = await operator.key(caller.tenant_id)
    assert (await caller.call("GET", "/api/v1/assets", key=key.text))[0] == 200
    await operator.revoke(key)
    for _ in range(10_000):
        if (await caller.call("GET", "/api/v1/assets", key=key.text))[0] == 401:
            return
    pytest.fail("the key is still good")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (Scope.ASSETS_READ, {"GET assets"}),
        (Scope.ASSETS_WRITE, {"POST storage/presign"}),
        (Scope.WEBHOOKS, {"GET webhooks"}),
        (Scope.KEYS, set()),
        (Scope.ADMIN, {"GET assets", "POST storage/presign", "GET webhooks"}),
    ],
)
async def test_a_key_does_what_its_scopes_say(caller, operator, scope, allowed):
    key = await operator.key(caller.tenant_id, scopes=(scope,))
    statuses = {
        f"{method} {path}": (await caller.call(method, f"/api/v1/{path}", body, key=key.text))[0]
        for method, path, body in [
            ("GET", "assets", None), ("POST", "storage/presign", GOOD), ("GET", "webhooks", None),
        ]
    }  # fmt: skip
    assert {name for name, status in statuses.items() if status == 200} == allowed
    assert {status for name, status in statuses.items() if name not in allowed} <= {403}


async def test_unknown_addresses_and_methods_answer_in_our_shape(caller):
    for method, path, expected in [
        ("GET", "/nope", 404),
        ("GET", "/api/v1/assets/not-a-uuid", 404),
        ("DELETE", "/api/v1/storage/presign", 405),
    ]:
        status, answer, headers = await caller.call(method, path)
        assert (status, answer["status"]) == (expected, "error")
        assert headers["traceparent"]


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
async def test_a_body_too_large_is_refused(caller, accept):
    body = b'{"fileName": "' + b"a" * 100_000
    status, answer, headers = await caller.call("POST", "/api/v1/storage/presign", body, headers={"Accept": accept})
    assert (status, answer["code"], headers["Content-Type"]) == (413, "invalid_request", accept)


async def test_a_client_that_accepts_problems_gets_them(caller):
    headers = {"Accept": "application/problem+json, application/json;q=0.5"}
    status, answer, answered = await caller.call(
        "POST", "/api/v1/storage/presign", GOOD | {"size": -5}, headers=headers
    )
    assert answered["Content-Type"] == "application/problem+json"
    assert answer == {
        "type": "urn:medialane:error:size_out_of_range",
        "title": "The size is not between one byte and the allowed maximum.",
        "status": 400,
        "detail": answer["detail"],
        "instance": "/api/v1/storage/presign",
        "code": "size_out_of_range",
        "field": "size",
    }
    assert status == 400
    assert "5368709120" in answer["detail"]


async def test_options_is_answered_without_a_key(caller):
    async with caller.session.options(f"{caller.base}/api/v1/assets/{uuid7()}") as response:
        assert (response.status, await response.read(), "GET" in response.headers["Allow"]) == (204, b"", True)
