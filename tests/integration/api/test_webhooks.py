"""Webhook endpoints after their registration: read, changed, given new secrets, and tried."""

import asyncio
import base64
import json

import pytest
from support.api import ENCRYPTION_KEY

from connectors.secrets import SecretBox
from schemas.ids import uuid7

HOOKS = "/api/v1/webhooks"
HOOK = {"url": "https://example.com/hook", "events": ["job.done", "asset.ready"], "description": "orders"}


@pytest.fixture
async def hook(caller):
    status, answer, _ = await caller.call("POST", HOOKS, HOOK)
    assert status == 201, answer
    return answer["data"]


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


async def stored(operator, hook):
    """The keys that deliveries are signed with, the old one second."""
    rows = await operator.rows("SELECT secret, secret_old FROM webhook_endpoints WHERE id = :id", id=hook["id"])
    return [None if sealed is None else SecretBox(ENCRYPTION_KEY).open(bytes(sealed)) for sealed in rows[0].values()]


async def audited(operator, hook):
    rows = await operator.rows(
        "SELECT action, detail FROM audit_log WHERE subject = :id AND action <> 'webhook.register' ORDER BY at",
        id=hook["id"],
    )
    return [(row["action"], row["detail"]) for row in rows]


async def test_a_webhook_is_changed_where_it_is_said_and_read_as_it_is_now(caller, operator, hook):
    path = f"{HOOKS}/{hook['id']}"
    now = {name: value for name, value in hook.items() if name != "secret"}
    assert (await caller.call("GET", path))[1]["data"] == now
    for change in (
        {},
        {"url": "https://example.org/services/s3cr3t"},
        {"events": ["*", "*"], "enabled": False},
        {"description": ""},
        {"enabled": True, "description": None},
    ):
        status, answer, _ = await caller.call("PATCH", path, change)
        now |= {name: value for name, value in change.items() if value is not None}
        now["events"] = list(dict.fromkeys(now["events"]))
        assert (status, answer["data"]) == (200, now)
        assert (await caller.call("GET", path))[1]["data"] == now
    assert await audited(operator, hook) == [
        ("webhook.change", {"host": "example.org"}),
        ("webhook.change", {"events": ["*"], "enabled": False}),
        ("webhook.change", {"descriptionChanged": True}),
        ("webhook.change", {"enabled": True}),
    ]
    await caller.call("DELETE", path)
    assert [(await caller.call(method, path, body))[0] for method, body in (("GET", None), ("PATCH", {}))] == [404, 404]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"url": "http://10.1.2.3/"}, (422, "webhook_url_refused", "url")),
        ({"events": ["asset.exploded"]}, (400, "invalid_request", "events")),
        ({"events": []}, (400, "invalid_request", "events")),
        ({"description": "a\nb"}, (400, "invalid_request", "description")),
        ({"enabled": 0}, (400, "invalid_request", "enabled")),
    ],
)
async def test_a_change_is_held_to_what_a_registration_is(caller, hook, change, refused):
    status, answer, _ = await caller.call("PATCH", f"{HOOKS}/{hook['id']}", {"enabled": False} | change)
    assert (status, answer["code"], answer["field"]) == refused
    assert (await caller.call("GET", f"{HOOKS}/{hook['id']}"))[1]["data"]["enabled"]


async def test_switched_on_again_a_webhook_has_no_reason_to_be_off(caller, operator, hook):
    gone = "UPDATE webhook_endpoints SET enabled = false, disabled_reason = '410' WHERE id = :id RETURNING id"
    await operator.rows(gone, id=hook["id"])
    for enabled, reason in ((False, "410"), (True, None)):
        _, answer, _ = await caller.call("PATCH", f"{HOOKS}/{hook['id']}", {"enabled": enabled})
        assert (answer["data"]["enabled"], answer["data"]["disabledReason"]) == (enabled, reason)


async def test_a_secret_is_followed_by_another_that_is_shown_once(caller, operator, hook):
    path, once = f"{HOOKS}/{hook['id']}/secret/rotate", {"Idempotency-Key": "rotate"}
    status, answer, _ = await caller.call("POST", path, {"overlapSeconds": 3600}, headers=once)
    made = answer["data"]
    assert (status, made["oldSecretUntil"] is None, made["secret"] == hook["secret"]) == (201, False, False)
    assert await stored(operator, hook) == [key_of(made["secret"]), key_of(hook["secret"])]
    status, again, headers = await caller.call("POST", path, {"overlapSeconds": 3600}, headers=once)
    assert (status, again, headers["Idempotent-Replayed"]) == (201, answer, "true")
    shown = (await caller.call("GET", f"{HOOKS}/{hook['id']}"))[1]["data"]
    assert shown == {name: value for name, value in made.items() if name != "secret"}

    status, answer, _ = await caller.call("POST", path, {})
    assert (status, answer["code"], answer["field"]) == (409, "conflict", "overlapSeconds"), "it was promised its time"
    status, answer, _ = await caller.call("POST", path, {"overlapSeconds": 0, "secret": "correct horse"})
    assert (status, answer["data"]["oldSecretUntil"]) == (201, None)
    assert await stored(operator, hook) == [b"correct horse", None]
    assert await audited(operator, hook) == [
        ("webhook.rotate_secret", {"overlapSeconds": seconds}) for seconds in (3600, 0)
    ]
    for wrong in (8 * 86_400, "0"):
        status, answer, _ = await caller.call("POST", path, {"overlapSeconds": wrong})
        assert (status, answer["field"]) == (400, "overlapSeconds")
    assert (await caller.call("POST", f"{HOOKS}/{uuid7()}/secret/rotate", {}))[0] == 404


async def test_of_many_who_rotate_a_secret_at_once_one_does(caller, operator, hook):
    path = f"{HOOKS}/{hook['id']}/secret/rotate"
    answers = await asyncio.gather(*(caller.call("POST", path, {}) for _ in range(8)))
    assert sorted(status for status, *_ in answers) == [201] + [409] * 7
    (made,) = [answer["data"] for status, answer, _ in answers if status == 201]
    assert await stored(operator, hook) == [key_of(made["secret"]), key_of(hook["secret"])]


@pytest.mark.parametrize(("wanted", "kind"), [({}, "job.done"), ({"type": "asset.failed"}, "asset.failed")])
async def test_a_test_is_a_delivery_that_says_so(caller, operator, hook, wanted, kind):
    status, answer, _ = await caller.call("POST", f"{HOOKS}/{hook['id']}/test", wanted)
    assert (status, answer["data"]["type"]) == (202, kind)
    (row,) = await operator.rows(
        "SELECT *, due_at <= clock_timestamp() AS due FROM webhook_deliveries WHERE id = :id",
        id=answer["data"]["deliveryId"],
    )
    assert (row["tenant_id"], str(row["endpoint_id"]), row["state"], row["due"]) == (
        caller.tenant_id, hook["id"], "waiting", True,
    )  # fmt: skip
    body = json.loads(row["payload"])
    assert (body["test"], body["type"], body["data"]["type"]) == (True, kind, kind)
    assert {body["data"]["id"], str(row["event_id"])} == {answer["data"]["eventId"]}
    assert body["data"]["tenant_id"] == str(caller.tenant_id)
    assert await audited(operator, hook) == [("webhook.test", {"type": kind})]


async def test_no_test_is_made_that_nobody_would_get(caller, operator, hook):
    path = f"{HOOKS}/{hook['id']}/test"
    status, answer, _ = await caller.call("POST", path, {"type": "asset.exploded"})
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", "type")
    await caller.call("PATCH", f"{HOOKS}/{hook['id']}", {"enabled": False})
    status, answer, _ = await caller.call("POST", path, {})
    assert (status, answer["code"]) == (409, "webhook_disabled")
    assert await operator.rows("SELECT FROM webhook_deliveries WHERE tenant_id = :id", id=caller.tenant_id) == []
