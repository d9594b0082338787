"""Keys through the API: made, shown once, rotated with an overlap, revoked; nobody hands on more than they hold."""

import asyncio

import pytest

from api.keys.last_used import LastUsed
from connectors.postgres.accounts.keys import MAX_KEYS
from schemas.scopes import Scope

KEYS = "/api/v1/keys"


@pytest.fixture
async def admin(caller, operator):
    caller.key = (await operator.key(caller.tenant_id, scopes=(Scope.ADMIN,))).text
    return caller


async def mint(caller, **body):
    status, answer, _ = await caller.call("POST", KEYS, {"scopes": ["assets:read"]} | body)
    assert status == 201, answer
    return answer["data"]


async def works(caller, key):
    return (await caller.call("GET", "/api/v1/assets", key=key))[0]


async def until_refused(caller, key):
    for _ in range(10_000):
        if await works(caller, key) == 401:
            return
    pytest.fail("the key is still good")


async def test_a_key_is_shown_once_and_works_within_its_scopes(admin, operator):
    made = await mint(admin, name="ci")
    assert await works(admin, made["key"]) == 200
    assert (await admin.call("GET", KEYS, key=made["key"]))[0] == 403
    listed = (await admin.call("GET", KEYS))[1]["data"]
    assert {key["name"] for key in listed} == {"", "ci"}
    assert made["key"].rpartition("_")[2] not in str(listed)
    row = await operator.rows("SELECT secret_hash FROM api_keys WHERE id = :id", id=made["id"])
    assert len(row[0]["secret_hash"]) == 32


async def test_nobody_hands_on_more_than_they_hold(admin, operator):
    limited = (await operator.key(admin.tenant_id, scopes=(Scope.KEYS, Scope.ASSETS_READ))).text
    mighty = await mint(admin, scopes=["admin"])
    for scope, status in (("assets:read", 201), ("keys:*", 201), ("assets:write", 403), ("admin", 403)):
        assert (await admin.call("POST", KEYS, {"scopes": [scope]}, key=limited))[0] == status
    assert (await admin.call("POST", f"{KEYS}/{mighty['id']}/rotate", {}, key=limited))[0] == 403
    assert await works(admin, mighty["key"]) == 200
    row = await operator.rows("SELECT expires_at FROM api_keys WHERE id = :id", id=mighty["id"])
    assert row[0]["expires_at"] is None, "a refused rotation leaves no trace"


async def ends(operator, key):
    return (await operator.rows("SELECT expires_at FROM api_keys WHERE id = :id", id=key["id"]))[0]["expires_at"]


@pytest.mark.parametrize("wanted", [{}, {"expiresIn": 10 * 86_400}])
async def test_nobody_hands_on_more_time_than_they_have(admin, operator, wanted):
    lasting = await mint(admin)
    brief = await operator.key(admin.tenant_id, scopes=(Scope.ADMIN,), expires_in_s=3600)
    mine = {"id": str(brief.id)}
    status, made, _ = await admin.call("POST", KEYS, {"scopes": ["admin"]} | wanted, key=brief.text)
    assert (status, await ends(operator, made["data"])) == (201, brief.expires_at)
    for key in (lasting, mine):
        status, rotated, _ = await admin.call("POST", f"{KEYS}/{key['id']}/rotate", wanted, key=brief.text)
        assert (status, await ends(operator, rotated["data"])) == (201, brief.expires_at)


async def test_a_key_that_follows_another_lives_as_long_unless_more_is_wanted_and_had(admin, operator):
    for wanted, as_before in (({}, True), ({"expiresIn": 10 * 86_400}, False)):
        old = await mint(admin, expiresIn=2 * 86_400)
        until = await ends(operator, old)
        new = (await admin.call("POST", f"{KEYS}/{old['id']}/rotate", wanted | {"overlap": 60}))[1]["data"]
        assert (await ends(operator, new) == until, await ends(operator, new) >= until) == (as_before, True)
        assert await ends(operator, old) < until
    lasting = await mint(admin)
    assert await ends(operator, (await admin.call("POST", f"{KEYS}/{lasting['id']}/rotate", {}))[1]["data"]) is None


async def test_a_repeated_request_hands_on_no_more_either(admin, operator):
    limited = (await operator.key(admin.tenant_id, scopes=(Scope.KEYS, Scope.ASSETS_READ))).text
    follower = (await operator.key(admin.tenant_id, scopes=(Scope.ADMIN,))).text
    mighty = await mint(admin, scopes=["admin"])
    for path, body in ((KEYS, {"scopes": ["admin"]}), (f"{KEYS}/{mighty['id']}/rotate", {})):
        headers = {"Idempotency-Key": path}
        first = await admin.call("POST", path, body, headers=headers)
        status, answer, _ = await admin.call("POST", path, body, headers=headers, key=limited)
        assert (status, answer["code"]) == (422, "idempotency_key_reused")
        again = await admin.call("POST", path, body, headers=headers, key=follower)
        assert (first[0], again[:2]) == (201, first[:2]), "the key may have been rotated in between"


async def test_a_repeated_request_hands_on_no_more_time_either(admin, operator):
    def follower(seconds):
        return operator.key(admin.tenant_id, scopes=(Scope.ADMIN,), expires_in_s=seconds)

    hour, month, lasting = await follower(3600), await follower(30 * 86_400), await mint(admin)
    asked = (
        (KEYS, {"scopes": ["admin"]}, 422),
        (KEYS, {"scopes": ["admin"], "expiresIn": 10 * 86_400}, 201),
        (f"{KEYS}/{lasting['id']}/rotate", {}, 422),
    )
    for number, (path, body, later) in enumerate(asked):
        headers = {"Idempotency-Key": f"request-{number}"}
        first = await admin.call("POST", path, body, headers=headers)
        answers = [await admin.call("POST", path, body, headers=headers, key=key.text) for key in (hour, month)]
        assert (first[0], [status for status, *_ in answers]) == (201, [422, later])
        assert answers[0][1]["code"] == "idempotency_key_reused"


async def test_a_key_that_rotated_itself_is_answered_again_though_that_cut_it_short(admin, operator):
    mine = await operator.key(admin.tenant_id, scopes=(Scope.ADMIN,))
    admin.key = mine.text
    rotate = ("POST", f"{KEYS}/{mine.id}/rotate", {"overlap": 3600})
    first = await admin.call(*rotate, headers={"Idempotency-Key": "mine"})
    while (another := await mint(admin))[
        "expiresAt"
    ] is None:  # the process remembers for a moment that the key has no end
        await admin.call("DELETE", f"{KEYS}/{another['id']}")
    again = await admin.call(*rotate, headers={"Idempotency-Key": "mine"})
    assert (first[0], again[:2], again[2]["Idempotent-Replayed"]) == (201, first[:2], "true")


async def test_after_a_rotation_both_work_until_the_overlap_ends(admin, operator):
    old = await mint(admin, name="app", scopes=["assets:read", "webhooks:*"])
    status, answer, _ = await admin.call("POST", f"{KEYS}/{old['id']}/rotate", {"overlap": 3600})
    new = answer["data"]
    assert (status, new["scopes"]) == (201, old["scopes"])
    assert [await works(admin, key["key"]) for key in (old, new)] == [200, 200]
    again = await admin.call("POST", f"{KEYS}/{old['id']}/rotate", {})
    assert (again[0], again[1]["code"]) == (409, "conflict")
    listed = {key["id"]: key for key in (await admin.call("GET", KEYS))[1]["data"]}
    assert (listed[new["id"]]["replaces"], listed[new["id"]]["name"]) == (old["id"], "app")
    await operator.rows("UPDATE api_keys SET expires_at = now() WHERE id = :id RETURNING id", id=old["id"])
    await until_refused(admin, old["key"])
    assert await works(admin, new["key"]) == 200


async def test_a_revoked_key_is_useless_and_revoking_repeats(admin):
    made = await mint(admin)
    assert await works(admin, made["key"]) == 200
    for _ in range(2):
        assert (await admin.call("DELETE", f"{KEYS}/{made['id']}"))[0] == 200
    await until_refused(admin, made["key"])
    assert (await admin.call("POST", f"{KEYS}/{made['id']}/rotate", {}))[0] == 409


async def test_a_tenant_has_a_bounded_number_of_keys_that_work_however_many_it_asks_for_at_once(admin):
    wanted = {"scopes": ["assets:read"]}
    answers = await asyncio.gather(*(admin.call("POST", KEYS, wanted) for _ in range(MAX_KEYS + 5)))
    made = [answer["data"] for status, answer, _ in answers if status == 201]
    refused = {(status, answer["code"]) for status, answer, _ in answers if status != 201}
    assert (len(made), refused) == (MAX_KEYS - 2, {(403, "quota_exceeded")}), "two were there"

    def rotate(key, overlap):
        return admin.call("POST", f"{KEYS}/{key['id']}/rotate", {"overlap": overlap})

    assert (await rotate(made[0], 60))[1]["code"] == "quota_exceeded"
    status, answer, _ = await rotate(made[0], 0)
    assert status == 201, "it takes the other's place"
    await admin.call("DELETE", f"{KEYS}/{answer['data']['id']}")
    assert [(await admin.call("POST", KEYS, wanted))[0] for _ in range(2)] == [201, 403]

    pages, cursor = [], ""
    while cursor is not None:
        page = (await admin.call("GET", f"{KEYS}?limit=60{cursor and f'&cursor={cursor}'}"))[1]
        pages.append([key["id"] for key in page["data"]])
        cursor = page["nextCursor"]
    listed = [key for page in pages for key in page]
    assert ([len(page) for page in pages], len(set(listed))) == ([60, 42], 102), "ended ones, too"
    times = {key["id"]: key["createdAt"] for key in made}
    assert (ordered := [times[key] for key in listed if key in times]) == sorted(ordered, reverse=True)


async def test_what_was_revoked_is_noted_once(admin, operator):
    made = await mint(admin)
    for _ in range(3):
        assert (await admin.call("DELETE", f"{KEYS}/{made['id']}"))[0] == 200
    noted = "SELECT actor FROM audit_log WHERE action = 'key.revoke' AND subject = :id"
    assert len(await operator.rows(noted, id=made["id"])) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [({"scopes": []}, "scopes"), ({"scopes": ["all"]}, "scopes"), ({"scopes": ["admin"], "expiresIn": 0}, "expiresIn"),
     ({"scopes": ["admin"], "name": "a\u0000"}, "name")],
)  # fmt: skip
async def test_a_malformed_request_names_its_field(admin, body, field):
    status, answer, _ = await admin.call("POST", KEYS, body)
    assert (status, answer["code"], answer["field"].split("[")[0]) == (400, "invalid_request", field)


async def test_the_last_use_is_written_for_many_at_once(admin, operator, database):
    from connectors.postgres.database import Database
    from schemas.settings import DatabaseSettings

    used, unused = await operator.key(admin.tenant_id), await operator.key(admin.tenant_id)
    async with Database(DatabaseSettings(url=database.app, pool_size=1), application="test") as app:
        noted = LastUsed(app)
        async with noted.running():
            noted.note(used.id)
    seen = await operator.rows("SELECT id, last_used_at FROM api_keys WHERE tenant_id = :id", id=admin.tenant_id)
    known = {row["id"]: row["last_used_at"] for row in seen}
    assert known[used.id] is not None
    assert known[unused.id] is None
