"""`medialane secrets rotate`, as an operator runs it, and a running API and a signature before and after."""

import base64
import json

from support import api
from support.commands import medialane

from connectors.secrets import SecretBox

NEW = base64.b64encode(bytes(range(32, 64))).decode()
HOOK = {"url": "https://example.com/hook", "events": ["*"], "secret": "correct horse"}


def keys(present, *old):
    found = {"MEDIALANE_WEBHOOK_ENCRYPTION_KEY": present}
    return found | ({"MEDIALANE_WEBHOOK_ENCRYPTION_KEY_OLD": ",".join(old)} if old else {})


def rotate(database, present, *old, options=("--json",)):
    env = keys(present, *old) | {"MEDIALANE_DATABASE_URL": database.worker}
    return medialane(env, "secrets", "rotate", *options)


async def secrets_of(operator):
    rows = await operator.rows("SELECT id, secret, secret_old FROM webhook_endpoints")
    return {
        (row["id"], name): bytes(row[name])
        for row in rows
        for name in ("secret", "secret_old")
        if row[name] is not None
    }


async def test_everything_is_sealed_anew_and_opens_all_the_while(database, bucket, operator, session):
    async def customer(address):
        tenant = await operator.tenant()
        return api.Caller(address, tenant.id, (await operator.key(tenant.id)).text, session)

    env, again = api.environment(database, bucket), {"Idempotency-Key": "hook-1"}
    with api.running(env) as before:
        caller = await customer(before.address)
        first = await caller.call("POST", "/api/v1/webhooks", HOOK, headers=again)
        for _ in range(5):
            other = await customer(before.address)
            for _ in range(50):
                status, made, _ = await other.call("POST", "/api/v1/webhooks", HOOK)
                assert status == 201
        path = f"/api/v1/webhooks/{made['data']['id']}/secret/rotate"
        assert (await other.call("POST", path, {"secret": HOOK["secret"]}))[0] == 201
    # One of the release before, whose sealed texts named no key.
    sealed = await secrets_of(operator)
    oldest = min(sealed)
    await operator.rows(
        "UPDATE webhook_endpoints SET secret = :secret WHERE id = :id RETURNING id",
        id=oldest[0], secret=api.sealed_before(b"correct horse"),
    )  # fmt: skip
    rows = {"endpoint secrets": 251, "old endpoint secrets": 1, "kept answers": 1}

    dry = rotate(database, NEW, api.ENCRYPTION_KEY)
    assert json.loads(dry.stdout) == {"key": SecretBox(NEW).key_id, "rows": rows, "unreadable": 0}
    assert {**sealed, oldest: None} == {**await secrets_of(operator), oldest: None}
    for options in ((), ("--apply",)):
        blind = rotate(database, NEW, options=options)
        assert (blind.returncode, "253 can be opened by none of the keys" in blind.stderr) == (1, True)

    done = rotate(database, NEW, api.ENCRYPTION_KEY, options=("--apply", "--json"))
    assert json.loads(done.stdout) == json.loads(dry.stdout)
    assert "endpoint secrets: 200 sealed anew" in done.stderr
    assert {SecretBox(NEW).open(one) for one in (await secrets_of(operator)).values()} == {b"correct horse"}
    noted = await operator.rows("SELECT subject, detail FROM audit_log WHERE action = 'secrets.rotate' ORDER BY at")
    assert [(row["subject"], row["detail"]["rows"]) for row in noted] == [
        (SecretBox(NEW).key_id, count) for count in (200, 51, 1, 1)
    ]
    repeated = rotate(database, NEW, options=("--apply", "--json"))
    assert json.loads(repeated.stdout)["rows"] == dict.fromkeys(rows, 0)

    with api.running(env | keys(NEW)) as after:
        caller.base = after.address
        status, answer, headers = await caller.call("POST", "/api/v1/webhooks", HOOK, headers=again)
        assert (status, answer, headers["Idempotent-Replayed"]) == (201, first[1], "true")


async def test_a_key_that_is_none_is_named(database):
    refused = rotate(database, NEW, "short")
    assert (refused.returncode, "MEDIALANE_WEBHOOK_ENCRYPTION_KEY" in refused.stderr) == (2, True)
