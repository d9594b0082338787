"""What is committed, on a real broker, with transactions: ours, and beside it what plain Faust does (faust.md L1-L14)."""

import asyncio

import pytest
from faust.types import TP
from support.streams import noting, until

pytestmark = pytest.mark.stack


def values(count, prefix=b"r"):
    return [prefix + str(index).encode() for index in range(count)]


async def test_the_watermark_is_committed_across_transaction_markers(bench):
    """L1, L2: records 0 1 | 3 4 | 6 7 with a marker after each pair; the first after a gap is held."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    worker.handler.hold(b"r2")
    await bench.produce(topic, values(6))
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 5, "all but the held record are claimed")
    await until(lambda: bench.committed(group, topic) == 3, "everything below the held record is committed")
    await asyncio.sleep(1)  # ten commit intervals: time enough to commit too much
    assert bench.committed(group, topic) == 3
    worker.handler.release(b"r2")
    await until(lambda: bench.committed(group, topic) == 8, "the rest is committed")


async def test_plain_faust_commits_past_an_open_record_after_a_marker(bench):
    topic, group = await bench.topic(), bench.group()
    acked = []

    def read(app):
        async def loop(stream):
            async for event in stream.noack().events():
                if event.value != b"r2":
                    event.ack()
                    acked.append(event.value)

        return loop

    plain = bench.plain(topic, group, read)
    await bench.produce(topic, values(6))
    await plain.start()
    await until(lambda: len(acked) == 5, "all but the held record are acked")
    await until(lambda: (bench.committed(group, topic) or 0) > 3, "plain Faust passes the open record")


async def test_a_fresh_group_commits_nothing_past_its_first_open_record(bench):
    """L1: with nothing committed yet."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    worker.handler.hold(b"r0")
    await bench.produce(topic, values(4), per_transaction=4)
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 3, "all but the first are claimed")
    await asyncio.sleep(1)
    assert bench.committed(group, topic) in (None, 0)
    worker.handler.release(b"r0")
    await until(lambda: bench.committed(group, topic) == 4, "the rest is committed")


async def test_plain_faust_commits_past_the_first_open_record_of_a_fresh_group(bench):
    topic, group = await bench.topic(), bench.group()

    def read(app):
        async def loop(stream):
            async for event in stream.noack().events():
                if event.value != b"r0":
                    event.ack()

        return loop

    plain = bench.plain(topic, group, read)
    await bench.produce(topic, values(4), per_transaction=4)
    await plain.start()
    await until(lambda: (bench.committed(group, topic) or 0) > 0, "plain Faust passes the open record")


async def test_a_commit_that_begins_as_another_ends_disturbs_neither(bench):
    """A rebalance commits, too: in the moment between a commit's end and its being noticed."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await worker.start()
    consumer, later, answer = worker.app.consumer, [], asyncio.Event()

    async def commit(offsets):
        if not later:
            asyncio.get_running_loop().call_soon(lambda: later.append(asyncio.create_task(consumer._commit(offsets))))
            return True
        await answer.wait()
        return False

    consumer._thread.commit = commit
    while not later:  # the app's own commit may be on its way
        await consumer._commit({})
        await asyncio.sleep(0)
    answer.set()
    assert not await later[0]


async def test_records_of_aborted_transactions_are_never_seen(bench):
    """L14."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await bench.produce(topic, values(2, b"aborted"), abort=True)
    await bench.produce(topic, values(2))
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 2, "the committed records arrive")
    assert worker.handler.seen == values(2)
    await until(lambda: bench.committed(group, topic) == 5, "and are committed")


async def test_plain_faust_delivers_aborted_records(bench):
    topic, group = await bench.topic(), bench.group()
    seen = []
    plain = bench.plain(topic, group, noting(seen))
    await bench.produce(topic, values(2, b"aborted"), abort=True)
    await bench.produce(topic, values(2))
    await plain.start()
    await until(lambda: len(seen) == 4, "all four arrive")
    assert seen == values(2, b"aborted") + values(2)


async def test_plain_faust_with_concurrency_commits_past_a_job_that_still_runs(bench):
    """L1: one of four streams holds the first record, the others go on."""
    topic, group = await bench.topic(), bench.group()
    hold, seen = asyncio.Event(), []

    def read(app):
        async def loop(stream):
            async for event in stream.events():
                seen.append(event.value)
                if event.value == b"r0":
                    await hold.wait()

        return loop

    plain = bench.plain(topic, group, read, agent={"concurrency": 4})
    await bench.produce(topic, values(12), per_transaction=12)
    await plain.start()
    try:
        await until(lambda: len(seen) >= 9, "the other streams go on")
        await until(lambda: (bench.committed(group, topic) or 0) > 0, "the job that runs is passed")
    finally:
        hold.set()


async def test_the_watermark_is_committed_across_what_compaction_left(bench):
    """L2: of records 0-5 with one key only the last of each segment is left; the first after the gap is held."""
    topic, group = await bench.compacted_topic(values(6)), bench.group()
    worker = bench.ours(topic, group)
    worker.handler.hold(b"held")
    for value in (b"held", b"after"):
        await asyncio.to_thread(bench.send, topic, value, value, [])
    await worker.start()
    await until(lambda: b"after" in worker.handler.seen, "the record after the held one is claimed")
    seen = [value for value in worker.handler.seen if value != b"after"]
    assert 0 < len(seen) < 6, "compaction took some"
    await until(lambda: bench.committed(group, topic) == 6, "everything below the held record is committed")
    await asyncio.sleep(1)
    assert bench.committed(group, topic) == 6
    worker.handler.release(b"held")
    await until(lambda: bench.committed(group, topic) == 8, "the rest is committed")


async def test_doubled_headers_are_all_there(bench):
    """L11."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await asyncio.to_thread(bench.send, topic, b"x", None, [("twice", b"1"), ("twice", b"2"), ("none", None)])
    await worker.start()
    await until(lambda: worker.records, "the record arrives")
    assert worker.records[0].headers == (("twice", b"1"), ("twice", b"2"), ("none", None))


async def test_plain_faust_keeps_one_of_two_headers_that_share_a_name(bench):
    topic, group = await bench.topic(), bench.group()
    seen = []
    plain = bench.plain(topic, group, noting(seen, lambda event: event.headers))
    await asyncio.to_thread(bench.send, topic, b"x", None, [("twice", b"1"), ("twice", b"2")])
    await plain.start()
    await until(lambda: seen, "the record arrives")
    assert dict(seen[0]) == {"twice": b"2"}


async def test_plain_faust_commits_past_a_record_that_it_cannot_decode(bench):
    """L9: so topics are raw bytes here, and we decode."""
    topic, group = await bench.topic(), bench.group()
    seen = []
    plain = bench.plain(topic, group, noting(seen), value_type=None, value_serializer="json")
    await bench.produce(topic, [b"no json", b'{"fine": 1}'])
    await plain.start()
    await until(lambda: bench.committed(group, topic) == 2, "the bad record is committed away")
    assert seen == [{"fine": 1}]


async def test_a_commit_that_fails_is_tried_again(bench):
    """L8."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await worker.start()
    commit, failed = worker.app.consumer._thread.commit, []

    async def sometimes(offsets):
        if len(failed) < 3:
            failed.append(offsets)
            return False
        return await commit(offsets)

    worker.app.consumer._thread.commit = sometimes
    await bench.produce(topic, values(2))
    await until(lambda: bench.committed(group, topic) == 2, "the commit sticks in the end")
    assert len(failed) == 3


async def test_plain_faust_takes_a_failed_commit_for_a_good_one(bench):
    topic, group = await bench.topic(), bench.group()

    def read(app):
        async def loop(stream):
            async for event in stream.noack().events():
                event.ack()

        return loop

    plain = bench.plain(topic, group, read)
    await plain.start()
    failed = []

    async def never(offsets):
        failed.append(dict(offsets))
        return False

    commit, plain.app.consumer._thread.commit = plain.app.consumer._thread.commit, never
    await bench.produce(topic, values(2), per_transaction=2)
    await until(lambda: failed and 2 in failed[-1].values(), "the commit of both has failed")
    plain.app.consumer._thread.commit = commit
    believed = plain.app.consumer._committed_offset[TP(topic, 0)]
    assert believed == 2, "it believes that it has committed"
    await asyncio.sleep(2)  # twenty commit intervals
    assert bench.committed(group, topic) is None, "and never does"


async def test_a_restart_repeats_what_was_open_and_nothing_else(bench):
    topic, group = await bench.topic(), bench.group()
    first = bench.ours(topic, group)
    first.handler.hold(b"r3")
    await bench.produce(topic, values(6))
    await first.start()
    await until(lambda: len(first.handler.seen) == 5, "all but the held record are claimed")
    await until(lambda: bench.committed(group, topic) == 4, "the watermark is committed")
    await first.app.stop()  # the held record's claim never ends
    second = bench.ours(topic, group)
    await second.start()
    await until(lambda: b"r5" in second.handler.seen, "the second worker goes on")
    assert sorted(second.handler.seen) == [b"r3", b"r4", b"r5"]


async def test_what_was_settled_just_before_a_rebalance_is_committed_in_it(bench):
    """L7: with a commit interval that never comes, the revoke is the only chance."""
    topic, group = await bench.topic(partitions=2), bench.group()
    first = bench.ours(topic, group)
    await first.start()
    first.app.consumer.commit_interval = 3600
    await asyncio.sleep(0.3)
    await bench.produce(topic, values(4), partition=0)
    await until(lambda: len(first.handler.seen) == 4, "all are claimed")
    second = bench.ours(topic, group)
    await second.start()
    assert bench.committed(group, topic) == 5
    await bench.produce(topic, [b"last"], partition=0)
    await bench.produce(topic, [b"last"], partition=1)
    await until(lambda: (first.handler.seen + second.handler.seen).count(b"last") == 2, "both go on")
    assert sorted(first.handler.seen + second.handler.seen) == sorted([*values(4), b"last", b"last"])


async def test_a_commit_under_way_does_not_keep_the_revokes_own_from_the_broker(bench):
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await worker.start()
    consumer, answered, asked = worker.app.consumer, asyncio.Event(), []
    commit = consumer._thread.commit

    async def slowly(offsets):
        asked.append(offsets)
        await answered.wait()
        return await commit(offsets)

    consumer._thread.commit = slowly
    await bench.produce(topic, values(2))
    await until(lambda: asked, "a commit is under way")
    await bench.produce(topic, [b"newer"])
    await until(lambda: b"newer" in worker.handler.seen, "a newer record is claimed meanwhile")
    [due] = worker.lanes.positions().values()
    revoked = asyncio.create_task(consumer.on_partitions_revoked(consumer.assignment()))
    await until(lambda: consumer._committing is not None, "it waits")
    answered.set()
    await revoked
    assert bench.committed(group, topic) == due


async def test_nothing_looks_unread_when_everything_was_read(bench):
    """The marker after the last transaction takes an offset: a watchdog that counts it would end idle workers."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await bench.produce(topic, values(4))
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 4, "all are claimed")
    key = next(iter(worker.lanes.ledger.partitions))
    await until(lambda: worker.member.position(key) == worker.member.highwater(key) == 6, "position and end agree")
