"""Deliveries that have ended and are sent again, by real agents to a real receiver."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries, resending
from connectors.postgres.webhooks.resending import Span, Which
from connectors.telemetry import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.metrics import WEBHOOK_FIRST_ATTEMPT_AGE
from schemas.settings import DatabaseSettings
from schemas.states import DeliveryState
from streams.webhooks.settling import Settled, Settling

HOUR = timedelta(hours=1)


async def resend(world, row):
    async with world.database.transaction() as connection:
        await resending.resend(connection, world.tenant_id, row["endpoint_id"], row["id"], actor="me")


async def refused(world, row):
    with pytest.raises(MedialaneError) as error:
        await resend(world, row)
    return error.value.code


async def test_what_was_delivered_is_sent_again_the_same_but_signed_anew(world, receiver):
    await world.endpoint(receiver.url())
    async with world.running() as agent:
        await world.offer(agent, world.event())
        await world.settled("delivered")
        await resend(world, (await world.rows())[0])
        await receiver.wait_for(lambda received: len(received) == 2, 30)
        await world.settled("delivered")
    first, second = receiver.received
    assert (first.message_id, first.body) == (second.message_id, second.body)
    second.verify(world.secret)
    assert first.trace_id != second.trace_id
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in await world.attempts()] == [
        (1, "delivered"), (2, "delivered"),
    ]  # fmt: skip


async def test_it_has_the_whole_schedule_before_it_again(world, receiver):
    receiver.fail_next(7)  # four attempts and then, after it is sent again, three of four
    await world.endpoint(receiver.url())
    async with world.running() as agent:
        await world.offer(agent, world.event())
        await world.settled("dead")
        await resend(world, (await world.rows())[0])
        await world.settled("delivered")
    assert [attempt["attempt"] for attempt in await world.attempts()] == list(range(1, 9))
    (row,) = await world.rows()
    assert (row["attempts"], row["attempts_before"]) == (8, 4)


async def test_a_late_writer_of_the_attempt_before_changes_nothing(world):
    new = await begun(world, await world.endpoint("http://a.example/"), "old")
    late = deliveries.Settlement(
        id=new.id, epoch=1, attempt=1, state=DeliveryState.DELIVERED, pause_s=None, sent=True, outcome="delivered",
        status=200, response="", traceparent=None,
    )  # fmt: skip

    async def settle():
        async with world.database.transaction() as connection:
            return await deliveries.settle(connection, [late])

    assert await settle() == {new.id}
    await resend(world, (await world.rows())[0])
    async with world.database.transaction() as connection:
        ((again,), _) = await deliveries.lease(connection, {new.endpoint_id: 1}, owner="new", lease_s=60)
    assert (again.attempt, again.tries) == (2, 1)
    assert await settle() == set()
    assert await world.states() == ["sending"]


async def test_one_that_was_given_up_before_any_attempt_does_not_count_as_late(world, receiver):
    endpoint = await world.endpoint(receiver.url())
    await many(world, endpoint, "dead", 1)
    old = '{"type": "asset.ready", "timestamp": "2026-01-31T12:00:00Z"}'
    await world.execute(
        "UPDATE webhook_deliveries SET attempts = 0, payload = %s WHERE endpoint_id = %s", old, endpoint
    )
    async with world.running() as agent:
        await resend(world, (await world.rows())[0])
        await world.settled("delivered")
    ages = agent.metrics.histogram(WEBHOOK_FIRST_ATTEMPT_AGE)
    assert sum(bucket.get() for bucket in ages._buckets) == 0
    assert [attempt["attempt"] for attempt in await world.attempts()] == [1]


async def test_what_is_under_way_or_has_nowhere_to_go_is_refused(world):
    endpoint = await world.endpoint("http://a.example/")
    await many(world, endpoint, "dead", 1)
    (row,) = await world.rows()
    for state in ("waiting", "sending"):
        await world.execute("UPDATE webhook_deliveries SET state = %s WHERE id = %s", state, row["id"])
        assert await refused(world, row) is ErrorCode.DELIVERY_UNDER_WAY
    await world.execute("UPDATE webhook_deliveries SET state = 'dead' WHERE id = %s", row["id"])
    await world.execute("UPDATE webhook_endpoints SET enabled = false WHERE id = %s", endpoint)
    assert await refused(world, row) is ErrorCode.WEBHOOK_DISABLED
    await world.execute("UPDATE webhook_endpoints SET enabled = true, deleted_at = now() WHERE id = %s", endpoint)
    assert await refused(world, row) is ErrorCode.NOT_FOUND
    assert await world.states() == ["dead"]


async def many(world, endpoint, state, count, *, hours_ago=1):
    """Deliveries of events of one moment and the milliseconds after it."""
    await world.execute(
        """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,
            attempts, finished_at)
        SELECT gen_random_uuid(), %s, %s, (lpad(to_hex((extract(epoch FROM now() - %s * interval '1 hour') * 1000)::bigint + i),
            12, '0') || '7000' || substr(md5(random()::text), 1, 16))::uuid, 'asset.ready', gen_random_uuid(), 1, '{}', %s,
            4, now() FROM generate_series(1, %s) AS i
        """,
        world.tenant_id, endpoint, hours_ago, state, count,
    )  # fmt: skip


async def recover(world, endpoint, span, which=Which.DEAD, **how):
    async with world.database.transaction() as connection:
        return await resending.recover(connection, world.tenant_id, endpoint, span, which, actor="me", **how)


async def test_what_was_not_got_since_some_time_is_sent_again_in_batches_oldest_first(world):
    endpoint, other = await world.endpoint("http://a.example/"), await world.endpoint("http://b.example/")
    now = datetime.now(UTC)
    await many(world, endpoint, "dead", 2, hours_ago=9)
    await many(world, endpoint, "dead", 5, hours_ago=3)
    await many(world, endpoint, "delivered", 1, hours_ago=3)
    await many(world, other, "dead", 1, hours_ago=3)
    span = Span(since=now - 4 * HOUR, until=now - 2 * HOUR)
    async with world.database.transaction() as connection:
        found = [
            await resending.count_recoverable(connection, world.tenant_id, endpoint, span, which) for which in Which
        ]
    assert found == [(5, False), (6, False)]
    first = await recover(world, endpoint, span, most=3)
    last = await recover(world, endpoint, Span(since=span.since, until=span.until, resume=first.resume), most=3)
    assert [(one.sent, one.resume is None) for one in (first, last)] == [(3, False), (2, True)]
    sent = [row for row in await world.rows(order="event_id") if row["state"] == "waiting"]
    assert [row["endpoint_id"] for row in sent] == [endpoint] * 5
    assert all(row["attempts_before"] == 4 and row["finished_at"] is None for row in sent)
    for batch in (sent[:3], sent[3:]):
        due = [row["due_at"] for row in batch]
        assert due == sorted(set(due)), "one after the other"
    noted = await world.rows("audit_log", "at, id")
    assert [(entry["action"], entry["detail"]["deliveries"]) for entry in noted] == [
        ("webhook.recover", 3),
        ("webhook.recover", 2),
    ]


async def test_who_sends_again_holds_up_no_agent_that_disables_the_endpoint(world, other, database):
    """Results of other tenants are written with it."""
    endpoint = await world.endpoint("http://gone.example/")
    await other.endpoint("http://a.example/")
    results = [await sending(one) for one in (world, other)]
    limited = DatabaseSettings(url=database.worker, pool_size=1, statement_timeout_s=1.0)
    async with Database(limited, application="test") as quick, world.database.transaction() as holder:
        await holder.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        await resending.check_open(holder, world.tenant_id, endpoint)
        settling = Settling(quick, Metrics(CollectorRegistry(), process="webhooks"))
        for result in results:
            settling.put(result)
        running = asyncio.create_task(settling.run())
        async with asyncio.timeout(30):
            await settling.flushed()
        running.cancel()
        assert (await world.states(), await other.states()) == (["dead"], ["dead"])
        (row,) = await world.rows("webhook_endpoints")
        assert not row["enabled"]


async def begun(world, endpoint, owner):
    """A delivery to an endpoint, leased for its first attempt."""
    new = deliveries.NewDelivery(
        id=uuid7(), tenant_id=world.tenant_id, endpoint_id=endpoint, event_id=uuid7(), event_type="asset.ready",
        asset_id=uuid7(), seq=1, payload="{}", traceparent=None, leased=True,
    )  # fmt: skip
    async with world.database.transaction() as connection:
        await deliveries.insert(connection, [new], owner=owner, lease_s=60)
    return new


async def sending(world):
    """A delivery to a tenant's endpoint that is under way, and a result of it that says that there is no receiver."""
    (row,) = await world.rows("webhook_endpoints")
    new = await begun(world, row["id"], "me")
    gone = deliveries.Settlement(
        id=new.id, epoch=1, attempt=1, state=DeliveryState.DEAD, pause_s=None, sent=True, outcome="gone", status=410,
        response="", traceparent=None,
    )  # fmt: skip
    return Settled(gone, row["id"], row["url"], disable="410")


async def test_who_only_counts_locks_nothing(world):
    endpoint = await world.endpoint("http://a.example/")
    async with world.database.transaction() as counting:
        await resending.count_recoverable(counting, world.tenant_id, endpoint, Span(since=datetime.now(UTC) - HOUR))
        await world.execute("SELECT FROM webhook_endpoints WHERE id = %s FOR UPDATE NOWAIT", endpoint)


async def test_two_who_recover_at_once_send_each_again_once(world):
    endpoint = await world.endpoint("http://a.example/")
    await many(world, endpoint, "dead", 200)
    span = Span(since=datetime.now(UTC) - 4 * HOUR)
    done = await asyncio.gather(*(recover(world, endpoint, span) for _ in range(4)))
    assert sum(one.sent for one in done) == 200
    assert {row["epoch"] for row in await world.rows()} == {2}
