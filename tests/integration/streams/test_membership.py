"""Members, rebalances and partitions on a real broker: ours, and beside it what plain Faust does (faust.md L4-L7, L10, L12)."""

import asyncio
import signal
import sys

import msgspec
import pytest
from confluent_kafka.admin import NewPartitions
from faust.types import TP
from structlog.testing import capture_logs
from support.streams import until

from schemas.errors import ErrorCode, MedialaneError
from streams.member import MemberLostError

pytestmark = pytest.mark.stack


def values(count, prefix=b"r"):
    return [prefix + str(index).encode() for index in range(count)]


def everything(stream_of):
    """A plain agent that does with each event what `stream_of` says."""

    def read(app):
        async def loop(stream):
            async for event in stream.noack().events():
                await stream_of(event)

        return loop

    return read


async def test_a_job_longer_than_the_rebalance_timeout_holds_no_rebalance_up(bench):
    """L4: the bench's rebalance timeout is 6 s, and the job ends when the test says so."""
    topic, group = await bench.topic(partitions=2), bench.group()
    first, second = bench.ours(topic, group), bench.ours(topic, group)
    first.handler.finish = second.handler.finish = asyncio.Event()
    await bench.produce(topic, [b"long"])
    await first.start()
    await until(lambda: first.handler.seen == [b"long"], "the long job runs")
    await second.start()
    await until(lambda: len(second.lanes.ledger.partitions) == 1, "the second has its share while the job runs")
    await asyncio.sleep(7)  # more than the rebalance timeout
    assert len(first.lanes.ledger.partitions) == len(second.lanes.ledger.partitions) == 1
    assert sum(lane.running for lane in first.lanes.lanes.values()) == 1
    first.handler.finish.set()
    await until(lambda: bench.committed(group, topic) == 1, "the record is committed")
    assert first.handler.seen + second.handler.seen == [b"long"], "nothing is repeated"


async def test_plain_faust_that_waits_for_its_streams_repeats_a_long_job(bench):
    """The default (`stream_wait_empty`): the rebalance waits for the job, the group does not wait for the member."""
    topic, group = await bench.topic(partitions=1), bench.group()
    started, finish = [], asyncio.Event()

    async def work(event):
        started.append(event.value)
        await finish.wait()
        event.ack()

    options = {"settings": {"stream_wait_empty": True}}
    first = bench.plain(topic, group, everything(work), **options)
    await bench.produce(topic, [b"long"])
    await first.start()
    await until(lambda: started == [b"long"], "the long job runs")
    second = bench.plain(topic, group, everything(work), **options)
    second.begin()
    try:
        await until(lambda: len(started) > 1, "the job runs a second time, while it still runs", 90)
    finally:
        finish.set()


async def full(bench, worker, topic):
    """A worker that is a member and has nothing to fetch."""
    worker.handler.finish = asyncio.Event()
    await bench.produce(topic, values(10))
    await worker.start()
    await until(lambda: all(lane.full for lane in worker.lanes.lanes.values()), "the lane is full")


async def test_a_worker_whose_lanes_are_all_full_stays_in_its_group_for_a_day(bench):
    """L5: with nothing to fetch, Kafka's poll interval must not end the membership."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group, slots=1, running=1, window=4)
    assert worker.app.conf.broker_max_poll_interval == 86_400
    await full(bench, worker, topic)
    assert bench.members(group) == 1
    worker.handler.finish.set()
    await until(lambda: sorted(worker.handler.seen) == values(10), "it goes on by itself")


async def test_a_worker_with_a_shorter_poll_interval_leaves_its_group(bench, monkeypatch):
    topic, group = await bench.topic(), bench.group()
    monkeypatch.setattr(bench, "worker", msgspec.structs.replace(bench.worker, max_poll_s=6.0))
    worker = bench.ours(topic, group, slots=1, running=1, window=4)
    await full(bench, worker, topic)
    await until(lambda: bench.members(group) == 0, "it is a member no more", 90)
    worker.handler.finish.set()


async def test_plain_faust_whose_buffers_are_all_full_leaves_its_group(bench):
    topic, group = await bench.topic(), bench.group()
    seen = []

    async def note(event):
        seen.append(event.value)
        event.ack()

    settings = {"broker_max_poll_interval": 6.0, "stream_buffer_maxsize": 4096}
    plain = bench.plain(topic, group, everything(note), settings=settings)
    await plain.start()
    await until(lambda: bench.members(group) == 1, "it is a member")
    plain.app.consumer.on_buffer_full(TP(topic, 0))
    await until(lambda: bench.members(group) == 0, "it is none any more", 90)


async def test_what_fails_stays_open(bench):
    """L6: a claim that meets an outage, three times."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    claim, failures = worker.handler.claim, []

    async def at_last(payload):
        if len(failures) < 3:
            failures.append(bench.committed(group, topic))
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        return await claim(payload)

    worker.handler.claim = at_last
    await bench.produce(topic, [b"r0"], per_transaction=1)
    await worker.start()
    await until(lambda: bench.committed(group, topic) == 1, "it is committed after it was claimed")
    assert worker.handler.seen == [b"r0"]
    assert set(failures) <= {None, 0}


async def test_plain_faust_commits_what_raised(bench):
    topic, group = await bench.topic(), bench.group()

    def read(app):
        async def loop(stream):
            async for event in stream.events():
                if event.value == b"r0":
                    raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)

        return loop

    plain = bench.plain(topic, group, read)
    await bench.produce(topic, values(2))
    await plain.start()
    await until(lambda: (bench.committed(group, topic) or 0) >= 1, "the record that raised is committed away")


async def test_plain_faust_repeats_what_was_acked_just_before_a_rebalance(bench):
    """L7: with a commit interval that never comes. Ours commits in the rebalance (test_commits)."""
    topic, group = await bench.topic(partitions=2), bench.group()
    seen = []

    async def note(event):
        seen.append(event.value)
        event.ack()

    settings = {"broker_commit_interval": 3600.0}
    first = bench.plain(topic, group, everything(note), settings=settings)
    await first.start()
    for partition in range(2):
        await bench.produce(topic, values(4, b"p%d-" % partition), partition=partition)
    await until(lambda: len(seen) == 8, "all are acked")
    second = bench.plain(topic, group, everything(note), settings=settings)
    await second.start()
    await until(lambda: len(seen) > 8, "some come again")


async def test_plain_faust_with_an_agent_per_partition_dies_of_a_rebalance(bench):
    """L10: eight partitions that are revoked at once count as eight crashes."""
    topic, group = await bench.topic(partitions=8), bench.group()

    async def note(event):
        event.ack()

    first = bench.plain(topic, group, everything(note), agent={"isolated_partitions": True})
    await first.start()
    second = bench.plain(topic, group, everything(note), agent={"isolated_partitions": True})
    second.begin()
    await until(lambda: first.task.done() or first.app.should_stop, "the whole worker ends", 90)


async def test_eight_partitions_that_are_revoked_at_once_are_no_crash(bench):
    topic, group = await bench.topic(partitions=8), bench.group()
    first, second = bench.ours(topic, group), bench.ours(topic, group)
    await first.start()
    await second.start()
    await until(lambda: len(second.lanes.ledger.partitions) == 4, "the second has its share")
    await second.stop()
    await until(lambda: len(first.lanes.ledger.partitions) == 8, "the first has all again")
    for partition in range(8):
        await bench.produce(topic, values(2, b"p%d-" % partition), partition=partition)
    await until(lambda: len(first.handler.seen) == 16, "and works")


async def test_new_partitions_of_a_topic_are_read_from_their_beginning(bench, monkeypatch):
    monkeypatch.setattr("streams.faust_app._METADATA_MS", 1000)
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await worker.start()
    future = bench.admin.create_partitions([NewPartitions(topic, 3)])[topic]
    await asyncio.to_thread(future.result, 15)
    for partition in range(3):
        await bench.produce(topic, values(2, b"p%d-" % partition), partition=partition)
    await until(lambda: len(worker.handler.seen) == 6, "every partition is read", 90)
    await until(lambda: all(bench.committed(group, topic, partition) == 2 for partition in range(3)), "and committed")


async def test_a_worker_beyond_the_partitions_says_that_it_is_a_spare_until_it_is_none(bench):
    topic, group = await bench.topic(partitions=1), bench.group()
    first, second = bench.ours(topic, group), bench.ours(topic, group)
    with capture_logs() as logged:
        await first.start()
        await second.start()
        await until(lambda: any("it is a spare" in line["event"] for line in logged), "one of them says so")
        [busy] = [worker for worker in (first, second) if worker.lanes.ledger.partitions]
        [spare] = [worker for worker in (first, second) if worker is not busy]
        await busy.stop()
        await until(lambda: len(spare.lanes.ledger.partitions) == 1, "it takes over")


async def test_a_static_member_comes_back_to_its_partitions_and_nobody_else_notices(bench):
    topic, group = await bench.topic(partitions=4), bench.group()
    first = bench.ours(topic, group, instance_id="first")
    second = bench.ours(topic, group, instance_id="second")
    await first.start()
    await second.start()
    await until(
        lambda: len(first.lanes.ledger.partitions) == len(second.lanes.ledger.partitions) == 2, "both have their share"
    )
    before, assignment = first.lanes.ledger.partitions, second.lanes.ledger.assignment
    await first.stop()
    again = bench.ours(topic, group, instance_id="first")
    await again.start()
    await until(lambda: again.lanes.ledger.partitions == before, "it has what it had")
    assert second.lanes.ledger.assignment == assignment
    for partition in range(4):
        await bench.produce(topic, values(2, b"p%d-" % partition), partition=partition)
    await until(lambda: len(again.handler.seen) == len(second.handler.seen) == 4, "both work")


async def test_of_two_members_of_one_name_the_older_one_ends(bench):
    """A duplicate after a bad deploy. Both would take the name from each other with every heartbeat (aiokafka)."""
    topic, group = await bench.topic(partitions=2), bench.group()
    older = bench.ours(topic, group, slots=1, running=1, instance_id="same")
    older.handler.finish = asyncio.Event()
    await bench.produce(topic, values(6))
    await older.start()
    await until(lambda: older.handler.seen == [b"r0"] and bench.committed(group, topic) == 1, "one runs, five wait")
    newer = bench.ours(topic, group, instance_id="same")
    await newer.start()
    await until(older.task.done, "the older one ends")
    with pytest.raises(MemberLostError, match="has joined the consumer group as 'same'"):
        older.task.result()
    await bench.produce(topic, values(4, b"later-"), partition=1)
    await until(lambda: len(newer.handler.seen) == 9, "the newer one has what the older had not begun, and goes on")
    assert older.handler.seen == [b"r0"]
    assert sorted(newer.handler.seen) == sorted([*values(6)[1:], *values(4, b"later-")])
    assert len(newer.lanes.ledger.partitions) == 2
    assert bench.members(group) == 1
    assert older.handler.given_back == [], "its job goes on under its lease"


async def test_a_static_member_whose_session_ran_out_joins_again(bench, tmp_path):
    """Nobody has its name: being unknown to the group is no reason to end."""
    topic, group = await bench.topic(partitions=2), bench.group()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMBER, "named", bench.kafka.brokers, topic, group, str(tmp_path)
    )
    bench.kill_at_end(process)
    await until(lambda: bench.members(group) == 1, "it is a member", 90)
    process.send_signal(signal.SIGSTOP)
    await until(lambda: bench.members(group) == 0, "its session has run out", 90)
    process.send_signal(signal.SIGCONT)
    await until(lambda: bench.members(group) == 1, "it is a member again", 90)
    assert process.returncode is None


MEMBER = """
import asyncio, sys
import faust
from schemas.settings import KafkaSettings, WorkerSettings
from streams.core.lane import Bounds
from streams.faust_app import build_app
from streams.lanes import Lanes

kind, brokers, topic, group, folder = sys.argv[1:]

async def main():
    if kind != "plain":
        settings = WorkerSettings(temp_dir=folder, session_timeout_s=6.0, rebalance_timeout_s=6.0,
                                  instance_id=kind if kind == "named" else None)
        lanes = Lanes(None, lambda: app.consumer, slots=1, bounds=Bounds.of(running=1, window=4))
        app = build_app(group, topic, KafkaSettings(brokers=brokers), settings, lanes, lambda record: None)
    else:
        app = faust.App(group, broker=f"kafka://{brokers}", topic_allow_declare=False, topic_disable_leader=True,
                        web_enabled=False, autodiscover=False, datadir=folder)

        @app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))
        async def read(stream):
            async for _ in stream:
                pass
    await app.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_member_is_replaced_long_before_plain_faust_notices(bench, tmp_path):
    """L12: both groups lose a member by SIGKILL at the same time; plain Faust has its default timeouts."""
    sets = {}
    for kind in ("ours", "plain"):
        topic, group = await bench.topic(partitions=2), bench.group()
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEMBER, kind, bench.kafka.brokers, topic, group, str(tmp_path / kind)
        )
        bench.kill_at_end(victim)
        await until(lambda group=group: bench.members(group) == 1, f"the victim of {kind} is there", 90)
        sets[kind] = topic, group, victim
    ours = bench.ours(*sets["ours"][:2])

    async def ignore(_event):
        """Nothing is sent here."""

    defaults = {"broker_session_timeout": 60.0, "broker_heartbeat_interval": 3.0, "broker_rebalance_timeout": 60.0}
    plain = bench.plain(*sets["plain"][:2], everything(ignore), settings=defaults)
    await ours.start()
    await plain.start()
    await until(
        lambda: len(ours.lanes.ledger.partitions) == len(plain.app.consumer.assignment()) == 1, "each has its half", 90
    )
    for _, _, victim in sets.values():
        victim.kill()
    await until(lambda: len(ours.lanes.ledger.partitions) == 2, "our survivor has both partitions", 90)
    assert len(plain.app.consumer.assignment()) == 1, "plain Faust's group still stands still"
