"""What was sent to an endpoint, read and sent again over HTTP."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from cli.client import ConflictError, NotFoundError
from schemas.ids import uuid7

HOOK = {"url": "https://example.com/hook", "events": ["*"]}


@pytest.fixture
async def endpoint(client):
    return (await client.register_webhook(HOOK["url"], HOOK["events"])).id


@pytest.fixture
def sent(operator, endpoint):
    """Makes a delivery to the endpoint, with one attempt that was refused."""
    return partial(operator.delivery, endpoint)


async def listed(client, endpoint, **filters):
    """The ids of every page."""
    found, page = [], None
    while page is None or page.next_cursor:
        page = await client.deliveries(endpoint, **filters, limit=2, cursor=page and page.next_cursor)
        found += [one.id for one in page.items]
    return found


async def test_pages_hold_every_delivery_once_newest_first_and_by_what_is_asked(client, endpoint, sent):
    asset = uuid7()
    made = [await sent(), await sent("delivered"), await sent("waiting"), await sent(kind="asset.failed"),
            await sent(asset_id=asset)]  # fmt: skip
    assert await listed(client, endpoint) == made[::-1]
    assert await listed(client, endpoint, state="dead") == [made[4], made[3], made[0]]
    assert await listed(client, endpoint, state="waiting") == [made[2]]
    assert await listed(client, endpoint, state="delivered") == [made[1]]
    assert await listed(client, endpoint, event_type="asset.failed") == [made[3]]
    assert await listed(client, endpoint, event_type="asset.failed", state="delivered") == []
    assert await listed(client, endpoint, asset_id=asset) == [made[4]]


async def test_a_delivery_shows_its_body_and_what_came_of_each_attempt(client, endpoint, sent):
    delivery_id = await sent()
    found = await client.delivery(endpoint, delivery_id)
    assert (found.state, found.attempts, found.last_outcome, found.last_status) == ("dead", 1, "rejected", 503)
    assert found.payload == {"type": "asset.ready", "data": {"seq": 1}}
    (attempt,) = found.attempt_log
    assert (attempt.number, attempt.duration_s, attempt.status, attempt.response) == (1, 2.0, 503, "away")


async def test_others_and_what_was_deleted_are_not_there(client, caller, endpoint, sent, new_caller):
    delivery_id, stranger = await sent(), await new_caller()
    paths = [f"/api/v1/webhooks/{endpoint}/deliveries", f"/api/v1/webhooks/{endpoint}/deliveries/{delivery_id}"]
    acts = [(f"{paths[1]}/resend", None), (f"/api/v1/webhooks/{endpoint}/recover", {"since": "2026-01-31T12:00:00Z"})]

    async def answers(who):
        return {(await who.call("GET", path))[0] for path in paths} | {
            (await who.call("POST", path, body))[0] for path, body in acts
        }

    assert await answers(stranger) == {404}
    await client.delete_webhook(endpoint)
    assert await answers(caller) == {404}


async def test_one_is_sent_again_once_under_its_key_and_refused_while_it_is_under_way(client, operator, endpoint, sent):
    delivery_id, key = await sent(), "again"
    for _ in range(2):
        await client.resend_delivery(endpoint, delivery_id, idempotency_key=key)
    with pytest.raises(ConflictError) as refused:
        await client.resend_delivery(endpoint, delivery_id)
    assert refused.value.code == "delivery_under_way"
    noted = await operator.rows("SELECT action FROM audit_log WHERE subject = :id", id=str(delivery_id))
    assert [entry["action"] for entry in noted] == ["webhook.resend"]
    with pytest.raises(NotFoundError):
        await client.resend_delivery(endpoint, uuid7())


async def test_what_is_dead_is_counted_and_then_sent_again(client, operator, endpoint, sent):
    for state in ("dead", "dead", "delivered", "waiting"):
        await sent(state)
    since = datetime.now(UTC) - timedelta(hours=1)
    counted = await client.recover_webhook(endpoint, since, dry_run=True)
    assert (counted.count, counted.more, counted.next_cursor) == (2, False, None)
    assert (await client.recover_webhook(endpoint, since, state="finished", dry_run=True)).count == 3
    assert (await client.recover_webhook(endpoint, since + timedelta(hours=2))).count == 0
    done = await client.recover_webhook(endpoint, since, until=since + timedelta(hours=2))
    assert (done.count, done.more) == (2, False)
    assert len(await listed(client, endpoint, state="waiting")) == 3
    await operator.rows("UPDATE webhook_endpoints SET enabled = false WHERE id = :id RETURNING id", id=endpoint)
    with pytest.raises(ConflictError) as refused:
        await client.recover_webhook(endpoint, since)
    assert refused.value.code == "webhook_disabled"


async def test_calls_that_follow_each_other_make_due_one_after_the_other(client, operator, endpoint, sent):
    retried = await sent("waiting")
    await operator.rows(
        "UPDATE webhook_deliveries SET attempts_before = 0, due_at = now() + interval '599 seconds' WHERE id = :id"
        " RETURNING id",
        id=retried,
    )
    await operator.rows(
        """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,
            attempts, finished_at)
        SELECT gen_random_uuid(), tenant_id, id, (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 5000 + i), 12,
            '0') || '7000' || substr(md5(random()::text), 1, 16))::uuid, 'asset.ready', gen_random_uuid(), 1, '{}', 'dead',
            4, now() FROM webhook_endpoints, generate_series(1, 2002) AS i WHERE id = :id RETURNING id
        """,
        id=endpoint,
    )
    since, cursor, calls = datetime.now(UTC) - timedelta(hours=1), None, []
    while not calls or cursor:
        calls.append(await client.recover_webhook(endpoint, since, cursor=cursor))
        cursor = calls[-1].next_cursor
    assert [call.count for call in calls] == [1000, 1000, 2]
    again = "SELECT due_at FROM webhook_deliveries WHERE endpoint_id = :id AND id <> :retried ORDER BY event_id"
    due = [row["due_at"] for row in await operator.rows(again, id=endpoint, retried=retried)]
    assert due == sorted(set(due)), "the first of each call after the last of the one before"
    assert due[-1] < datetime.now(UTC) + timedelta(seconds=60), "it waits for no retry"


async def test_no_more_becomes_due_than_in_ten_minutes(caller, operator, endpoint, sent):
    ahead = await sent("waiting")
    await operator.rows(
        "UPDATE webhook_deliveries SET attempts_before = attempts, due_at = now() + interval '599 seconds'"
        " WHERE id = :id RETURNING id",
        id=ahead,
    )
    body = {"since": "2026-01-31T12:00:00Z"}
    status, answer, headers = await caller.call("POST", f"/api/v1/webhooks/{endpoint}/recover", body)
    assert (status, answer["code"]) == (429, "rate_limited")
    assert 1 <= int(headers["Retry-After"]) <= 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": "2026-01-31T12:00:00"}, "since"),
        ({"since": "2026-01-31T12:00:00Z", "until": "2026-01-31T12:00:00Z"}, "until"),
        ({"since": "2026-01-31T12:00:00Z", "cursor": "none"}, "cursor"),
        ({"since": 0}, "since"),
        ({"since": "2026-01-31T12:00:00Z", "dryRun": 0}, "dryRun"),
        ({"since": "2026-01-31T12:00:00Z", "dryRun": "false"}, "dryRun"),
    ],
)
async def test_what_cannot_be_meant_is_refused(caller, endpoint, body, field):
    status, answer, _ = await caller.call("POST", f"/api/v1/webhooks/{endpoint}/recover", body)
    assert (status, answer["code"], answer["field"]) == (400, "invalid_request", field)
