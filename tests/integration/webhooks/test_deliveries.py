"""The queries of the due-table, judged by what Postgres does with them."""

import pytest
import sqlalchemy as sa
from support.plans import nodes_of, pages_of

from connectors.postgres.webhooks import deliveries, old_deliveries
from schemas.ids import uuid7
from schemas.settings import KeeperSettings
from schemas.states import DeliveryState
from streams.keeper.housekeeping import Housekeeping

# How `deliveries._LEASE` and `deliveries._DUE` find an endpoint's oldest.
LEASED_BY_ENDPOINT = sa.text(
    "SELECT id FROM webhook_deliveries WHERE endpoint_id = :endpoint AND state = 'waiting'"
    " AND due_at <= statement_timestamp() ORDER BY due_at LIMIT 2"
)


async def test_due_work_is_found_by_endpoint_and_not_by_walking_over_what_waits(world):
    busy, quiet = await world.endpoint("http://a.example/"), await world.endpoint("http://b.example/")
    later = await world.endpoint("http://c.example/")
    rows = """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state, due_at)
        SELECT gen_random_uuid(), %s, %s, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}', 'waiting',
            now() + %s * interval '1 second' FROM generate_series(1, %s)
    """
    await world.execute(rows, world.tenant_id, busy, -100, 20_000)
    await world.execute(rows, world.tenant_id, quiet, -5, 3)
    await world.execute(rows, world.tenant_id, later, 500, 1000)
    await world.execute("ANALYZE webhook_deliveries")
    async with world.database.transaction() as connection:
        found = await deliveries.due_endpoints(connection)
        assert [(one.endpoint_id, one.tenant_id) for one in found] == [
            (busy, world.tenant_id),
            (quiet, world.tenant_id),
        ]
        assert 99 < found[0].oldest_s < 160
        plan = (await connection.exec_driver_sql("EXPLAIN (ANALYZE, BUFFERS) " + str(deliveries._DUE))).scalars().all()
        leased, dead = await deliveries.lease(connection, {quiet: 2, later: 2}, owner="me", lease_s=10)
    assert "Seq Scan on webhook_deliveries" not in "\n".join(plan)
    assert [one.endpoint_id for one in leased] == [quiet, quiet]
    assert dead == []


async def test_a_look_between_costs_what_came_due_and_not_what_waits(world):
    """Thousands of endpoints in back-off, the large backlog of one, and two of which something has just come due."""
    busy, quiet, other = [await world.endpoint(f"http://{name}.example/") for name in "abc"]
    await world.execute(
        "INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events)"
        " SELECT gen_random_uuid(), %s, 'http://down.example/', '\\x00', '{*}' FROM generate_series(1, 3000)",
        world.tenant_id,
    )
    rows = """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state, due_at)
        SELECT gen_random_uuid(), tenant_id, id, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}', 'waiting',
            now() + %s * interval '1 second'
        FROM webhook_endpoints, generate_series(1, %s) WHERE tenant_id = %s AND url = %s
    """
    await world.execute(rows, 500, 1, world.tenant_id, "http://down.example/")
    await world.execute(rows, -500, 20_000, world.tenant_id, "http://a.example/")
    await world.execute(rows, -2, 1, world.tenant_id, "http://b.example/")
    await world.execute(rows, -1, 3, world.tenant_id, "http://c.example/")
    await world.execute("ANALYZE webhook_deliveries")
    async with world.database.transaction() as connection:
        assert [one.endpoint_id for one in await deliveries.due_endpoints(connection)] == [busy, quiet, other]
        newly_due = await deliveries.newly_due(connection, since_s=60, most=100)
        assert list(newly_due.items()) == [(quiet, world.tenant_id), (other, world.tenant_id)]
        assert list(await deliveries.newly_due(connection, since_s=60, most=3)) == [other]
        values = {"since_s": 60, "most": 100}
        every = await pages_of(connection, deliveries._DUE, {})
        newly = await pages_of(connection, deliveries._NEWLY_DUE, values)
        lease = await nodes_of(connection, LEASED_BY_ENDPOINT, {"endpoint": quiet})
    assert every > 3000
    assert newly < 30
    assert "webhook_deliveries_due" in [node.get("Index Name") for node in lease], (
        "whatever else has due times in order"
    )


@pytest.mark.parametrize(("before", "then"), [("sending", "waiting"), ("waiting", "sending")], ids=["expire", "lease"])
async def test_a_delivery_that_is_locked_is_passed_over_and_the_others_are_moved(world, before, then):
    endpoint = await world.endpoint("http://a.example/")
    row = """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,
            owner, lease_until, due_at)
        SELECT gen_random_uuid(), %(t)s, %(e)s, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}', %(s)s,
            CASE WHEN %(s)s = 'sending' THEN 'me' END,
            CASE WHEN %(s)s = 'sending' THEN now() - interval '1 minute' END,
            CASE WHEN %(s)s = 'waiting' THEN now() - interval '1 minute' END
        FROM generate_series(1, 2)
    """
    async with world.database.transaction() as connection:
        await connection.exec_driver_sql(row, {"t": world.tenant_id, "e": endpoint, "s": before})
    first = (await world.rows(order="id"))[0]["id"]
    async with world.database.transaction() as holder:
        await holder.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        await holder.exec_driver_sql("SELECT FROM webhook_deliveries WHERE id = %s FOR NO KEY UPDATE", (first,))
        async with world.database.transaction() as connection:
            await connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            if before == "sending":
                await deliveries.expire(connection, batch=10, lease_s=0.0)
            else:
                await deliveries.lease(connection, {endpoint: 2}, owner="me", lease_s=10)
        assert [row["state"] for row in await world.rows(order="id")] == [before, then]


async def test_a_postgres_that_has_just_started_lets_no_lease_run_out(world):
    endpoint = await world.endpoint("http://a.example/")
    row = """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,
            owner, lease_until)
        VALUES (gen_random_uuid(), %s, %s, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}', 'sending', 'me',
            now() - interval '1 day')
    """
    await world.execute(row, world.tenant_id, endpoint)
    async with world.database.transaction() as connection:
        assert await deliveries.expire(connection, batch=10, lease_s=86_400.0) == 0
        assert await deliveries.expire(connection, batch=0, lease_s=0.0) == 0
        assert await deliveries.expire(connection, batch=10, lease_s=0.0) == 1


async def test_an_attempt_that_was_not_sent_is_taken_back_once_however_often_that_is_written(world):
    """The answer may be lost, and the delivery be with another agent by the time that it is written again."""
    endpoint = await world.endpoint("http://a.example/")
    row = """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state, due_at)
        VALUES (gen_random_uuid(), %s, %s, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}', 'waiting', now())
    """
    await world.execute(row, world.tenant_id, endpoint)

    async def lease():
        async with world.database.transaction() as connection:
            ((leased,), _) = await deliveries.lease(connection, {endpoint: 1}, owner="me", lease_s=10)
        return leased

    async def settle(leased):
        unsent = deliveries.Settlement(
            id=leased.id, epoch=leased.epoch, attempt=leased.attempt, state=DeliveryState.WAITING, pause_s=0.0,
            sent=False, outcome="unsent", status=None, response="", traceparent=None,
        )  # fmt: skip
        async with world.database.transaction() as connection:
            return await deliveries.settle(connection, [unsent])

    async def attempts():
        return [row["attempts"] for row in await world.rows()], [row["attempt"] for row in await world.attempts()]

    first = await lease()
    assert await settle(first) == {first.id}
    assert await settle(first) == set()
    assert await attempts() == ([0], [])
    second = await lease()
    assert (second.attempt, second.epoch) == (1, first.epoch + 1)
    assert await settle(first) == set()
    assert await attempts() == ([1], [1])
    async with world.database.transaction() as connection:
        assert await deliveries.release(connection, [second]) == 1
    assert await settle(second) == set()
    assert await attempts() == ([1], [1])


async def test_what_ended_long_ago_goes_with_its_attempts_and_nothing_else(world):
    endpoint = await world.endpoint("http://a.example/")
    row = """
        WITH made AS (
            INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload,
                state, due_at, finished_at)
            SELECT gen_random_uuid(), %s, %s, gen_random_uuid(), %s, gen_random_uuid(), 1, '{}', %s, now(),
                now() - %s * interval '1 day' FROM generate_series(1, %s) RETURNING id, tenant_id
        )
        INSERT INTO webhook_attempts (delivery_id, attempt, tenant_id) SELECT id, 1, tenant_id FROM made
    """
    for name, state, days, count in (
        ("old", "delivered", 31, 1100), ("old", "dead", 31, 5), ("young", "delivered", 29, 2), ("open", "waiting", None, 3),
    ):  # fmt: skip
        await world.execute(row, world.tenant_id, endpoint, name, state, days, count)
    await world.execute("ANALYZE webhook_deliveries")
    async with world.database.transaction() as connection:
        values = {"kept": 2_592_000, "batch": 10}
        plan = (await connection.execute(sa.text(f"EXPLAIN {old_deliveries._PURGE.text}"), values)).scalars().all()
    assert "webhook_deliveries_ended" in "\n".join(plan)
    await Housekeeping(world.database, KeeperSettings()).clean()
    assert sorted(left["event_type"] for left in await world.rows()) == ["open"] * 3 + ["young"] * 2
    assert len(await world.attempts()) == 5


async def test_neither_a_lease_nor_the_count_of_disabled_endpoints_reads_the_deleted_ones(world):
    """As a tenant leaves them that registers and deletes in a loop."""
    for deleted, count in (("now()", 10_000), ("NULL", 3)):
        await world.execute(
            "INSERT INTO webhook_endpoints (id, tenant_id, url, secret, events, enabled, deleted_at)"
            f" SELECT gen_random_uuid(), %s, 'http://a.example/', '\\x00', '{{*}}', false, {deleted}"
            " FROM generate_series(1, %s)",
            world.tenant_id,
            count,
        )
    await world.execute("ANALYZE webhook_endpoints")
    async with world.database.transaction() as connection:
        assert await deliveries.count_disabled(connection) == 3
        assert await pages_of(connection, deliveries._DISABLED, {}) < 10
        wanted = {"endpoints": [uuid7()], "counts": [1], "owner": "me", "lease_s": 10}
        lease = await nodes_of(connection, deliveries._LEASE, wanted)
    assert [node.get("Index Name") for node in lease if node.get("Relation Name") == "webhook_endpoints"] == [
        "webhook_endpoints_pkey"
    ]


async def test_endpoints_deleted_long_ago_go_once_they_have_no_deliveries_and_no_others(world):
    names = ("living", "lately", "long ago", "with a delivery")
    living, lately, _, owing = [await world.endpoint(f"http://a.example/{name}") for name in names]
    deleted = "UPDATE webhook_endpoints SET enabled = false, deleted_at = now() - %s * interval '1 day' WHERE url = %s"
    for name, days in zip(names[1:], (29, 31, 31), strict=True):
        await world.execute(deleted, days, f"http://a.example/{name}")
    await world.execute(
        "INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, state,"
        " finished_at) VALUES (gen_random_uuid(), %s, %s, gen_random_uuid(), 'asset.ready', gen_random_uuid(), 1, '{}',"
        " 'dead', now() - interval '1 day')",
        world.tenant_id,
        owing,
    )
    await Housekeeping(world.database, KeeperSettings()).clean()
    assert {row["id"] for row in await world.rows("webhook_endpoints", "id")} == {living, lately, owing}
    assert len(await world.rows()) == 1


async def test_a_secret_that_was_rotated_away_is_forgotten_when_its_time_is_over(world):
    over, lasting = [await world.endpoint("http://a.example/") for _ in range(2)]
    for endpoint, hours in ((over, -1), (lasting, 1)):
        rotated = (
            "UPDATE webhook_endpoints SET secret_old = secret, secret_old_until = now() + %s * interval '1 hour'"
            " WHERE id = %s"
        )
        await world.execute(rotated, hours, endpoint)
    await Housekeeping(world.database, KeeperSettings()).clean()
    kept = {
        row["id"]: (row["secret_old"], row["secret_old_until"]) for row in await world.rows("webhook_endpoints", "id")
    }
    assert kept[over] == (None, None)
    assert None not in kept[lasting]
