"""`Idempotency-Key`: done once, answered the same, whoever asks at once and whoever dies in between."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from support import api
from support.api import ENCRYPTION_KEY
from support.principals import principal

from api.idempotency import Once
from api.keys.models import KeyRequest
from api.keys.service import KeyService
from connectors.postgres import idempotency
from connectors.secrets import SecretBox
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.scopes import Scope

BODY = {"fileName": "a.jpg", "contentType": "image/jpeg", "size": 5}
PRESIGN = "/api/v1/storage/presign"


@pytest.fixture
def key():
    return {"Idempotency-Key": f"key-{uuid7()}"}


async def assets(operator, caller):
    return len(await operator.rows("SELECT FROM assets WHERE tenant_id = :id", id=caller.tenant_id))


async def test_the_same_request_again_is_answered_verbatim(caller, operator, key):
    first = await caller.call("POST", PRESIGN, BODY, headers=key)
    again = await caller.call("POST", PRESIGN, BODY, headers=key)
    assert first[:2] == again[:2]
    assert "Idempotent-Replayed" not in first[2]
    assert again[2]["Idempotent-Replayed"] == "true"
    assert await assets(operator, caller) == 1


async def test_without_or_under_another_key_it_is_another_request(caller, operator, key):
    for headers in (key, {}, {"Idempotency-Key": "other"}):
        assert (await caller.call("POST", PRESIGN, BODY, headers=headers))[0] == 200
    assert await assets(operator, caller) == 3


async def test_another_body_under_the_key_is_refused(caller, operator, key):
    await caller.call("POST", PRESIGN, BODY, headers=key)
    status, answer, _ = await caller.call("POST", PRESIGN, BODY | {"size": 6}, headers=key)
    assert (status, answer["code"], answer["field"]) == (422, "idempotency_key_reused", "Idempotency-Key")
    assert await assets(operator, caller) == 1


async def test_another_address_under_the_key_is_refused(caller, operator, key):
    one, other = [await caller.upload() for _ in range(2)]
    assert (await caller.call("POST", f"/api/v1/assets/{one}/complete", headers=key))[0] == 200
    status, answer, _ = await caller.call("POST", f"/api/v1/assets/{other}/complete", headers=key)
    assert (status, answer["code"]) == (422, "idempotency_key_reused")
    assert len(await operator.rows("SELECT FROM jobs WHERE tenant_id = :id", id=caller.tenant_id)) == 1


async def test_an_answer_is_repeated_as_it_was_though_its_address_has_ended(env, caller, operator, key):
    first = await caller.call("POST", PRESIGN, BODY, headers=key)
    end = "UPDATE assets SET upload_expires_at = now() - interval '1 hour' WHERE tenant_id = :id RETURNING id"
    await operator.rows(end, id=caller.tenant_id)
    # An address that this process signed would be another one.
    with api.running(env | {"MEDIALANE_S3_ACCESS_KEY": "another"}) as later:
        caller.base = later.address
        again = await caller.call("POST", PRESIGN, BODY, headers=key)
        assert (again[:2], again[2]["Idempotent-Replayed"]) == (first[:2], "true")
        anew = (await caller.call("POST", PRESIGN, BODY))[1]["data"]
    assert ["another" in answer["uploadUrl"] for answer in (first[1]["data"], anew)] == [False, True]


async def test_a_key_is_a_tenants_own(caller, new_caller, key):
    other = await new_caller()
    mine = await caller.call("POST", PRESIGN, BODY, headers=key)
    theirs = await other.call("POST", PRESIGN, BODY, headers=key)
    assert mine[1]["data"]["assetId"] != theirs[1]["data"]["assetId"]


async def test_two_hundred_at_once_make_one_asset(caller, operator, key):
    answers = await asyncio.gather(*(caller.call("POST", PRESIGN, BODY, headers=key) for _ in range(200)))
    assert await assets(operator, caller) == 1
    done = [answer for status, answer, _ in answers if status == 200]
    assert len({answer["data"]["assetId"] for answer in done}) == 1
    assert {status for status, _, _ in answers} <= {200, 409}
    assert {answer["code"] for status, answer, _ in answers if status == 409} <= {"idempotency_key_in_use"}


async def test_a_refusal_is_not_remembered(caller, key):
    presigned = await caller.presign()
    path = f"/api/v1/assets/{presigned['assetId']}/complete"
    assert (await caller.call("GET", path, headers=key))[0] == 409
    await caller.put(presigned)
    status, _, headers = await caller.call("GET", path, headers=key)
    assert (status, "Idempotent-Replayed" in headers) == (200, False)
    status, _, headers = await caller.call("POST", path, headers=key)
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")


async def test_a_claim_whose_process_died_holds_for_its_time_and_no_longer(caller, operator, key):
    await caller.call("POST", PRESIGN, BODY, headers=key)
    unfinish = """UPDATE idempotency_keys SET state = 'running', created_at = now() - :age * interval '1 second'
                  WHERE tenant_id = :id RETURNING key"""
    await operator.rows(unfinish, id=caller.tenant_id, age=idempotency.CLAIM_S - 60)
    status, answer, _ = await caller.call("POST", PRESIGN, BODY, headers=key)
    assert (status, answer["code"]) == (409, "idempotency_key_in_use")
    await operator.rows(unfinish, id=caller.tenant_id, age=idempotency.CLAIM_S + 1)
    assert (await caller.call("POST", PRESIGN, BODY, headers=key))[0] == 200


def asking(who, path):
    """A request of somebody of a tenant, as far as it is read for its key."""

    async def body():
        return b"{}"

    return SimpleNamespace(user=who, url=SimpleNamespace(path=path), body=body)


@pytest.fixture
def minting(app, caller):
    """Mints a key under an idempotency key, in this process: `around` is given what does the work."""
    who = principal(tenant_id=caller.tenant_id, scopes=frozenset({Scope.ADMIN}))
    request = asking(who, "/keys")
    once, keys, wanted = Once(app, SecretBox(ENCRYPTION_KEY)), KeyService(app), KeyRequest(scopes=[Scope.ASSETS_READ])

    async def mint(around):
        return await once.made(request, "once", lambda keep: around(lambda: keys.mint(who, wanted, keep)))

    return mint


async def minted(operator, caller):
    rows = await operator.rows(
        "SELECT FROM audit_log WHERE tenant_id = :id AND action = 'key.mint'", id=caller.tenant_id
    )
    return len(rows)


async def test_an_answer_that_is_lost_after_the_commit_is_there_for_the_retry(minting, caller, operator):
    made = []

    async def lost(mint):
        made.append(await mint())
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await minting(lost)
    answer = await minting(lost)
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert [key.key.encode() in answer.content for key in made] == [True]
    assert await minted(operator, caller) == 1


async def test_who_is_overtaken_by_the_retry_takes_back_what_it_did(minting, caller, operator):
    async def overtaken(mint):
        await operator.outlive_claims(caller.tenant_id)
        assert (await minting(lambda retry: retry())).status_code == 201
        return await mint()

    with pytest.raises(MedialaneError) as caught:
        await minting(overtaken)
    assert caught.value.code is ErrorCode.IDEMPOTENCY_KEY_IN_USE
    assert await minted(operator, caller) == 1
    assert (await minting(lambda again: again())).headers["Idempotent-Replayed"] == "true"


async def test_after_a_day_a_key_is_new_and_may_be_purged(caller, operator, key):
    first = await caller.call("POST", PRESIGN, BODY, headers=key)
    age = "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE tenant_id = :id RETURNING key"
    await operator.rows(age, id=caller.tenant_id)
    second = await caller.call("POST", PRESIGN, BODY | {"size": 6}, headers=key)
    assert second[0] == 200
    assert first[1]["data"]["assetId"] != second[1]["data"]["assetId"]
    await operator.rows(age, id=caller.tenant_id)
    async with operator.database.transaction() as connection:
        assert await idempotency.purge(connection, batch=500) == 1


async def test_what_is_kept_of_an_answer_is_sealed(caller, operator, key):
    hook = {"url": "https://example.com/hook", "events": ["*"]}
    first = await caller.call("POST", "/api/v1/webhooks", hook, headers=key)
    again = await caller.call("POST", "/api/v1/webhooks", hook, headers=key)
    assert first[:2] == again[:2]
    assert first[0] == 201
    kept = (await operator.rows("SELECT body FROM idempotency_keys WHERE tenant_id = :id", id=caller.tenant_id))[0]
    assert first[1]["data"]["secret"].encode() not in bytes(kept["body"])


@pytest.mark.parametrize("value", ["", "k" * 256, "two words", "\u00e4"])
async def test_a_key_that_is_none_is_refused(caller, value):
    status, answer, _ = await caller.call("POST", PRESIGN, BODY, headers={"Idempotency-Key": value})
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", "Idempotency-Key")


class Leaving:
    """A database that does not answer while it is `away`."""

    def __init__(self, database):
        self._database, self.away = database, False

    @asynccontextmanager
    async def tenant(self, tenant_id):
        if self.away:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        async with self._database.tenant(tenant_id) as connection:
            yield connection


@pytest.fixture
async def leaving(app, caller):
    """A database that may leave, and what asks for a piece of work under one key of it, as the API does."""

    request = asking(caller, "/x")
    database = Leaving(app)
    once = Once(database, SecretBox(ENCRYPTION_KEY))
    yield database, lambda work: once.answer(request, "leaving", 200, work)
    await once.close()


async def repeated(ask, work):
    """What the request gets that is repeated as long as its key is in use; of that, less than the claim lasts."""
    async with asyncio.timeout(idempotency.CLAIM_S / 2):
        while True:
            try:
                return await ask(work)
            except MedialaneError as error:
                assert (error.code, error.retry_after_s) == (ErrorCode.IDEMPOTENCY_KEY_IN_USE, 1.0)
            await asyncio.sleep(0.01)


async def test_a_key_whose_work_failed_with_the_database_is_free_when_that_is_back(leaving):
    database, ask = leaving

    async def failing():
        database.away = True
        raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)

    async def working():
        return "done"

    with pytest.raises(MedialaneError) as caught:
        await ask(failing)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    database.away = False
    assert (await repeated(ask, working)).content == b'"done"'


async def test_work_that_is_done_is_answered_so_though_the_database_leaves_before_the_answer_is_kept(leaving):
    database, ask = leaving
    done = []

    async def working():
        database.away = True
        done.append("once")
        return "done"

    assert (await ask(working)).content == b'"done"'
    database.away = False
    again = await repeated(ask, working)
    assert (again.content, again.headers["Idempotent-Replayed"], done) == (b'"done"', "true", ["once"])


async def test_work_that_would_outlast_its_claim_is_cut_off_and_may_be_done_again(caller, operator, key):
    request = asking(caller, PRESIGN)
    once = Once(operator.database, SecretBox(ENCRYPTION_KEY), longest_s=0.01)
    with pytest.raises(MedialaneError) as caught:
        await asyncio.wait_for(once.answer(request, *key.values(), 200, asyncio.Event().wait), 30)
    assert caught.value.code is ErrorCode.SERVICE_UNAVAILABLE
    again = Once(operator.database, SecretBox(ENCRYPTION_KEY))
    answer = await again.answer(request, *key.values(), 200, request.body)
    assert answer.status_code == 200
