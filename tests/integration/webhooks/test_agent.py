"""The agent on a real database and real receivers."""

import asyncio
import base64
import errno
import json
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from cli.harness.receiver import Receiver
from connectors.http import session
from connectors.postgres.webhooks import deliveries
from connectors.secrets import SecretBox
from connectors.telemetry import trace_id
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import WEBHOOK_FIRST_ATTEMPT_AGE, WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE
from schemas.settings import SettingsError
from streams.webhooks import schedule
from streams.webhooks.missing_keys import tell_of_missing_keys

from .conftest import KEY

OTHER_KEY, DELETED_KEY = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"d"))
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_an_event_is_delivered_signed_and_in_its_trace(world, receiver):
    endpoint = await world.endpoint(receiver.url())
    event = world.event(traceparent=PARENT)
    async with world.running() as agent:
        await world.offer(agent, event)
        await world.settled("delivered")
    (got,) = receiver.received
    got.verify(world.secret)
    assert got.message_id == str(event.envelope.id)
    assert got.payload["data"] == json.loads(event.value)
    assert got.headers["content-type"] == "application/json"
    assert got.trace_id == trace_id(PARENT)
    (row,) = await world.rows()
    assert (row["endpoint_id"], row["event_id"], row["attempts"], row["owner"]) == (
        endpoint,
        event.envelope.id,
        1,
        None,
    )
    (attempt,) = await world.attempts()
    assert (attempt["outcome"], attempt["status"], attempt["traceparent"]) == (
        "delivered",
        200,
        got.headers["traceparent"],
    )
    assert attempt["started_at"] < attempt["finished_at"]
    (span,) = world.exporter.get_finished_spans()
    assert format(span.parent.span_id, "016x") == "00f067aa0ba902b7"


async def test_an_event_that_comes_again_is_delivered_once(world, receiver):
    await world.endpoint(receiver.url())
    event, mark = world.event(), world.event()
    async with world.running() as agent:
        await world.offer(agent, event, event)
        await world.offer(agent, event)
        await world.offer(agent, mark)
        await world.settled("delivered", "delivered")
    assert [one.message_id for one in receiver.received].count(str(event.envelope.id)) == 1


async def test_a_failure_is_tried_again_with_the_same_id_and_body_and_a_fresh_trace(world, receiver):
    receiver.fail_next(2, status=503)
    await world.endpoint(receiver.url())
    async with world.running() as agent:
        await world.offer(agent, world.event(traceparent=PARENT))
        await world.settled("delivered")
    first, second, third = receiver.received
    assert first.message_id == second.message_id == third.message_id
    assert first.body == second.body == third.body
    for one in receiver.received:
        one.verify(world.secret)
    assert first.trace_id == trace_id(PARENT)
    assert len({first.trace_id, second.trace_id, third.trace_id}) == 3
    retry = world.exporter.get_finished_spans()[1]
    assert [format(link.context.trace_id, "032x") for link in retry.links] == [trace_id(PARENT)]
    assert [(a["attempt"], a["outcome"], a["status"]) for a in await world.attempts()] == [
        (1, "rejected", 503), (2, "rejected", 503), (3, "delivered", 200),
    ]  # fmt: skip


async def test_the_schedule_is_kept_and_its_end_is_death(world, receiver):
    receiver.fail_next(9)
    await world.endpoint(receiver.url())
    async with world.running() as agent:
        await world.offer(agent, world.event())
        await world.settled("dead")
    assert len(receiver.received) == 4  # three pauses, four attempts
    (row,) = await world.rows()
    assert row["finished_at"] is not None
    assert row["due_at"] is None


async def test_a_retry_waits_for_its_time(world, receiver):
    receiver.fail_next(1)
    await world.endpoint(receiver.url())
    mark = world.event()
    async with world.running(schedule_s=(3600.0,)) as agent:
        await world.offer(agent, world.event())
        await world.settled("waiting")
        await world.offer(agent, mark)
        await world.settled("waiting", "delivered")
        (row, _) = await world.rows()
        assert 2800 < (row["due_at"] - datetime.now(UTC)).total_seconds() < 4400
        assert len(receiver.received) == 2
        await world.execute("UPDATE webhook_deliveries SET due_at = now() WHERE tenant_id = %s", world.tenant_id)
        await world.settled("delivered", "delivered")
    assert len(receiver.received) == 3


async def test_a_receiver_that_hangs_times_out_and_delays_no_other(world, receiver):
    async with Receiver() as hanging:
        await world.endpoint(hanging.url())
        await world.endpoint(receiver.url())
        hanging.hang_next(1000)
        events = [world.event(number) for number in range(60)]
        async with world.running(
            drain_s=0.1, in_flight=8, in_flight_per_endpoint=4, timeout_s=9.0, schedule_s=(600.0,)
        ) as agent:
            await world.offer(agent, *events)
            await receiver.wait_for(lambda got: len(got) == 60, timeout_s=8)
            assert 1 <= len(hanging.received) <= 4
            states = await world.states()
        assert states.count("waiting") >= 50  # they hold no lease and no slot


async def test_what_a_receiver_that_hangs_holds_back_is_told_apart(world, receiver):
    await world.endpoint(receiver.url())
    receiver.hang_next(1000)

    async with world.running(drain_s=0.1, timeout_s=0.2, schedule_s=(600.0,)) as agent:
        await world.offer(agent, *(world.event(number) for number in range(60)))

        async def told():
            due, held_back = (
                agent.metrics.gauge(spec)._value.get()
                for spec in (WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE)
            )
            return due == 0 and held_back > 0

        await world.until(told)


async def test_no_answer_in_time(world, receiver):
    receiver.hang_next(1)
    await world.endpoint(receiver.url())
    async with world.running(timeout_s=0.3) as agent:
        await world.offer(agent, world.event())
        await world.settled("delivered")
    assert [(a["outcome"], a["status"]) for a in await world.attempts()] == [("timeout", None), ("delivered", 200)]


async def test_a_lack_of_descriptors_costs_no_attempt(world, receiver, monkeypatch):
    make, lacking = session._guarded_socket, 3

    def short(*args):
        nonlocal lacking
        lacking -= 1
        if lacking >= 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return make(*args)

    monkeypatch.setattr(session, "_guarded_socket", short)
    monkeypatch.setattr(schedule, "_UNSENT_PAUSE_S", 0.01)
    await world.endpoint(receiver.url())
    async with world.running(schedule_s=()) as agent:
        await world.offer(agent, world.event())
        await world.settled("delivered")
    assert lacking < 0
    assert [row["attempts"] for row in await world.rows()] == [1]
    assert [(row["attempt"], row["outcome"]) for row in await world.attempts()] == [(1, "delivered")]


async def test_nobody_listens_and_an_address_that_is_refused(world):
    await world.endpoint("http://127.0.0.1:9/hook")
    await world.endpoint("http://169.254.169.254/latest/meta-data")
    async with world.running(schedule_s=()) as agent:
        await world.offer(agent, world.event())
        await world.settled("dead", "dead")
    outcomes = {a["outcome"]: a["response"] for a in await world.attempts()}
    assert set(outcomes) == {"unreachable", "refused"}
    assert "169.254" not in outcomes["refused"]


async def test_an_agent_that_dies_between_post_and_result_is_followed_by_another(world, receiver):
    receiver.hang_next(1)
    await world.endpoint(receiver.url())
    dead = world.agent(owner="dead", lease_s=5.5)
    dead.start()
    await world.offer(dead, world.event())
    await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
    for task in dead._tasks.values():  # what a SIGKILL leaves: a lease and an attempt without an end
        task.cancel()
    for task in list(dead._sender._tasks):
        task.cancel()
    await dead._http.close()
    await world.execute("UPDATE webhook_deliveries SET lease_until = now() WHERE tenant_id = %s", world.tenant_id)
    async with world.running(owner="next"):
        await world.settled("delivered")
    first, second = receiver.received
    assert first.message_id == second.message_id
    assert first.body == second.body
    lost, ended = await world.attempts()
    assert (lost["attempt"], lost["outcome"], ended["attempt"], ended["outcome"]) == (1, None, 2, "delivered")


async def test_a_result_that_comes_after_the_lease_was_lost_changes_nothing(world, receiver):
    receiver.hang_next(1)
    await world.endpoint(receiver.url())
    async with world.running(poll_interval_s=3600.0) as slow:
        await world.offer(slow, world.event())
        await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
        await world.execute("UPDATE webhook_deliveries SET lease_until = now() WHERE tenant_id = %s", world.tenant_id)
        receiver.fail_next(1, status=500)
        async with world.running(owner="quick", schedule_s=(600.0, 600.0)):
            await world.settled("waiting")
            receiver.release()
            await world.until(lambda: _finished(world, 1))
    assert await world.states() == ["waiting"]
    assert [a["outcome"] for a in await world.attempts()] == ["delivered", "rejected"]
    assert "media_webhook_fenced_results_total 1.0" in slow.metrics.render().decode()


async def _finished(world, attempt):
    return any(a["attempt"] == attempt and a["finished_at"] is not None for a in await world.attempts())


async def test_two_agents_share_the_work_and_send_nothing_twice(world, receiver):
    await world.endpoint(receiver.url())
    events = [world.event(number) for number in range(200)]
    changes = {"in_flight": 8, "in_flight_per_endpoint": 4}
    async with world.running(owner="one", **changes) as one, world.running(owner="two", **changes) as two:
        await asyncio.gather(world.offer(one, *events), world.offer(two, *reversed(events)))
        await world.settled(*["delivered"] * 200)
    ids = [got.message_id for got in receiver.received]
    assert len(ids) == len(set(ids)) == 200


async def test_stopping_finishes_what_is_in_flight_and_gives_back_the_rest(world, receiver):
    async with Receiver() as hanging:
        hanging.hang_next(1)
        receiver.hang_next(1)
        await world.endpoint(receiver.url())
        await world.endpoint(hanging.url())
        agent = world.agent()
        agent.start()
        await world.offer(agent, world.event())
        await receiver.wait_for(lambda got: len(got) == 1, timeout_s=90)
        await hanging.wait_for(lambda got: len(got) == 1, timeout_s=90)
        stopping = asyncio.create_task(agent.stop(1.0))
        await asyncio.sleep(0)
        receiver.release()
        await stopping
    rows = {row["state"]: row for row in await world.rows()}
    assert set(rows) == {"delivered", "waiting"}
    assert rows["waiting"]["owner"] is None
    assert rows["waiting"]["due_at"] <= datetime.now(UTC)


async def test_more_than_there_are_slots_for_is_delivered_all_the_same(world, receiver):
    await world.endpoint(receiver.url())
    async with world.running(in_flight=2, in_flight_per_endpoint=1, poll_interval_s=3600.0) as agent:
        await world.offer(agent, *(world.event(number) for number in range(50)))
        await receiver.wait_for(lambda got: len(got) == 50, timeout_s=90)
    ages = agent.metrics.histogram(WEBHOOK_FIRST_ATTEMPT_AGE)
    assert sum(bucket.get() for bucket in ages._buckets) == 50, "those that waited for a slot count, too"


async def test_retries_go_out_though_what_is_asked_of_every_endpoint_gets_no_answer(world, receiver, monkeypatch):
    asked = set()

    def refusing(name):
        async def refuse(_connection):
            asked.add(name)
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)

        return refuse

    receiver.fail_next(1)
    await world.endpoint(receiver.url())
    async with world.running() as agent:
        for name in ("count_disabled", "due_endpoints"):
            monkeypatch.setattr(deliveries, name, refusing(name))
        await world.until(lambda: _holds(asked == {"due_endpoints"}))
        await world.offer(agent, world.event())
        await world.settled("delivered")
    monkeypatch.undo()
    monkeypatch.setattr(deliveries, "count_disabled", refusing("count_disabled"))
    receiver.fail_next(1)
    async with world.running() as agent:
        await world.until(lambda: _holds("count_disabled" in asked))
        await world.offer(agent, world.event())
        await world.settled("delivered", "delivered")


async def _holds(condition):
    return condition


async def test_a_key_that_is_missing_costs_no_attempts_and_all_is_sent_once_it_is_back(world, receiver):
    await world.endpoint(receiver.url())

    async def looked_at_again(times):
        (delivery,) = await world.rows()
        return (delivery["state"], delivery["epoch"], delivery["due_at"] is None) == ("waiting", times, False)

    async with world.running(schedule_s=(), encryption_key=OTHER_KEY) as agent:
        await world.offer(agent, world.event())
        for times in (1, 2, 3):
            await world.until(lambda times=times: looked_at_again(times))
            (delivery,) = await world.rows()
            assert delivery["attempts"] == 0
            assert await world.attempts() == []
            await world.execute("UPDATE webhook_deliveries SET due_at = now() WHERE tenant_id = %s", world.tenant_id)
        await world.until(lambda: looked_at_again(4))
    assert not receiver.received
    async with world.running(schedule_s=(), encryption_key=OTHER_KEY, encryption_key_old=(KEY,)):
        await world.execute("UPDATE webhook_deliveries SET due_at = now() WHERE tenant_id = %s", world.tenant_id)
        await world.settled("delivered")
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in await world.attempts()] == [(1, "delivered")]
    receiver.received[0].verify(world.secret)


async def test_keys_that_are_missing_are_named_at_the_start(world):
    ids = [await world.endpoint("https://example.com/hook") for _ in range(3)]
    for endpoint, key in zip(ids, (OTHER_KEY, KEY, DELETED_KEY), strict=True):
        sealed = SecretBox(key).seal(b"secret")
        await world.execute("UPDATE webhook_endpoints SET secret = %s WHERE id = %s", sealed, endpoint)
    await world.execute("UPDATE webhook_endpoints SET deleted_at = now() WHERE id = %s", ids[2])
    with capture_logs() as logs:
        looking = asyncio.create_task(tell_of_missing_keys(world.database, SecretBox(KEY)))
        async with asyncio.timeout(90):
            while not logs:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.01)
        assert not looking.done(), "a task that ends is a defect"
        looking.cancel()
    (told,) = logs
    assert (told["log_level"], told["keys"]) == ("error", [SecretBox(OTHER_KEY).key_id])


async def test_answers_of_any_bytes_are_kept_as_text(world):
    async def babble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 6000\r\n\r\n" + b"\x00\xff\xf0" * 2000)
        await writer.drain()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        await world.endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        async with world.running(schedule_s=()) as agent:
            await world.offer(agent, world.event())
            await world.settled("dead")
    (attempt,) = await world.attempts()
    assert 0 < len(attempt["response"].encode()) <= 4096
    assert "\x00" not in attempt["response"]


async def test_settings_that_do_not_fit_together_name_themselves(world):
    with pytest.raises(SettingsError) as caught:
        world.agent(timeout_s=30.0, lease_s=30.0, encryption_key="short")
    assert "MEDIALANE_WEBHOOK_LEASE_S=30" in caught.value.problems[0]
    assert "MEDIALANE_WEBHOOK_ENCRYPTION_KEY" in caught.value.problems[1]
