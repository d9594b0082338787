"""Backpressure, rebalances and topics that come back, on a real broker: nothing is lost, and memory stays bounded."""

import asyncio
from functools import partial

import faust
import pytest
from faust.types import TP
from support.streams import BOUND_S, noting, until

pytestmark = pytest.mark.stack


def values(count, prefix=b"r"):
    return [prefix + str(index).encode() for index in range(count)]


async def test_a_full_lane_loses_nothing_and_stays_within_its_window(bench):
    """L3: fullness is signalled in mid-batch."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group, slots=1, running=1, window=16)
    claim = worker.handler.claim

    async def slowly(payload):
        await asyncio.sleep(0.002)
        return await claim(payload)

    worker.handler.claim = slowly
    await bench.produce(topic, values(200), per_transaction=50)
    await worker.start()
    await until(lambda: len(worker.handler.seen) >= 200, "every record is claimed")
    assert worker.handler.seen == values(200)
    assert 8 <= worker.most_waiting <= 16
    await until(lambda: bench.committed(group, topic) == 203, "and committed")


async def test_plain_faust_loses_the_rest_of_a_batch_that_is_paused_in_the_middle(bench):
    topic, group = await bench.topic(), bench.group()
    seen = []

    def read(app):
        async def loop(stream):
            async for event in stream.events():
                seen.append(event.value)
                if len(seen) == 3:
                    tp = TP(*event.message.tp)
                    app.consumer.pause_partitions({tp})
                    asyncio.get_running_loop().call_later(1, app.consumer.resume_partitions, {tp})

        return loop

    plain = bench.plain(topic, group, read)
    await bench.produce(topic, values(400), per_transaction=400)
    await plain.start()
    await until(lambda: len(seen) >= 3, "the first records arrive")
    await bench.produce(topic, [b"last"])
    await until(lambda: b"last" in seen, "the partition goes on")
    assert len(seen) < 401, "records between the pause and the end of the batch are gone"


async def bring_into_a_hold(bench, app, topic, hold):
    """Have a fetch that waits bring records while the flow, or its partition, is held; returns what was sent."""
    consumer, loop = app.consumer, asyncio.get_running_loop()
    fetcher, partitions, sent = consumer._thread._consumer._fetcher, {TP(topic, 0)}, []
    stop, go_on = {
        "flow": (consumer.stop_flow, consumer.resume_flow),
        "partition": (partial(consumer.pause_partitions, partitions), partial(consumer.resume_partitions, partitions)),
    }[hold]
    fetch, take = fetcher.fetched_records, consumer._wait_next_records
    began, ended, taken = asyncio.Queue(), asyncio.Queue(), asyncio.Event()

    async def watched(*args, **options):
        loop.call_soon_threadsafe(began.put_nowait, None)
        records = await fetch(*args, **options)
        loop.call_soon_threadsafe(ended.put_nowait, bool(records))
        return records

    async def taking(bound_s):
        taken.set()  # whatever came before
        return await take(bound_s)

    fetcher.fetched_records, consumer._wait_next_records = watched, taking
    brought = False
    while not brought:  # else it has waited for too long, and the next one brings them later
        await began.get()
        taken.clear()
        stop()
        sent.append(b"r%d" % len(sent))
        await asyncio.to_thread(bench.send, topic, sent[-1], b"key", [])
        brought = await ended.get()
        await taken.wait()
        go_on()
    fetcher.fetched_records, consumer._wait_next_records = fetch, take
    return sent


@pytest.mark.parametrize("hold", ["flow", "partition"])
async def test_what_a_waiting_fetch_brings_into_a_rebalance_is_not_lost(bench, hold):
    """A rebalance holds the flow; in a fresh group, and in a table's changelog, nothing would seek back to it."""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await worker.start()
    sent = await bring_into_a_hold(bench, worker.app, topic, hold)
    await bench.produce(topic, [b"last"])
    await until(lambda: b"last" in worker.handler.seen, "the partition goes on")
    assert worker.handler.seen == [*sent, b"last"]


@pytest.mark.parametrize("hold", ["flow", "partition"])
async def test_plain_faust_loses_what_a_waiting_fetch_brings_into_a_rebalance(bench, hold):
    topic, group = await bench.topic(), bench.group()
    seen = []
    plain = bench.plain(topic, group, noting(seen))
    await plain.start()
    sent = await bring_into_a_hold(bench, plain.app, topic, hold)
    await bench.produce(topic, [b"last"])
    await until(lambda: b"last" in seen, "the partition goes on")
    assert sent[-1] not in seen


async def test_nothing_is_fetched_between_the_seek_and_the_end_of_a_recovery(bench):
    """Faust empties the queues of streams in the end: what was fetched after the seek is in no queue, and not sought."""
    topic, group, changelog = await bench.topic(), bench.group(), await bench.topic()
    worker = bench.ours(topic, group)
    named = worker.app.topic(changelog, partitions=1, internal=True)
    worker.app.tables.add(faust.Table(worker.app, name="table", partitions=1, changelog_topic=named))
    consumer = worker.app.consumer
    seek = consumer.perform_seek

    async def seeking():
        await seek()
        if consumer.flow_active:  # or else whoever fetches waits
            async for _ in consumer.getmany(BOUND_S):
                pass  # in a queue that is emptied next

    consumer.perform_seek = seeking
    await bench.produce(topic, values(20))
    await worker.start()
    await bench.produce(topic, [b"last"])
    await until(lambda: b"last" in worker.handler.seen, "the partition goes on")
    assert worker.handler.seen == [*values(20), b"last"]


async def test_no_more_is_fetched_than_is_read(bench):
    """What lies in a stream's queue is in no lane, and no window bounds it."""
    topic, group = await bench.topic(partitions=4), bench.group()
    for partition in range(4):
        await bench.produce(topic, values(1500), per_transaction=500, partition=partition)
    worker = bench.ours(topic, group, window=64)
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 6000, "every record is claimed")
    assert worker.most_unread <= 2 * worker.lanes.poll


async def test_other_partitions_go_on_while_one_is_full(bench):
    topic, group = await bench.topic(partitions=2), bench.group()
    worker = bench.ours(topic, group, slots=4, running=2, window=8)
    await bench.produce(topic, values(40, b"stuck"), partition=0)
    for value in values(40, b"stuck"):
        worker.handler.hold(value)
    await worker.start()
    await until(lambda: any(lane.full for lane in worker.lanes.lanes.values()), "the stuck lane is full")
    await bench.produce(topic, values(100, b"fine"), partition=1)
    await until(lambda: len(worker.handler.seen) == 100, "the other partition is worked off")
    assert set(worker.handler.seen) == set(values(100, b"fine"))


async def test_members_come_and_go_and_every_record_is_claimed(bench):
    topic, group = await bench.topic(partitions=4), bench.group()
    first, second = bench.ours(topic, group), bench.ours(topic, group)
    await first.start()
    for partition in range(4):
        await bench.produce(topic, values(30, b"a%d-" % partition), partition=partition)
    await second.start()
    for partition in range(4):
        await bench.produce(topic, values(30, b"b%d-" % partition), partition=partition)
    await until(lambda: len(second.handler.seen) >= 60, "the second takes its share")
    await first.stop()
    for partition in range(4):
        await bench.produce(topic, values(30, b"c%d-" % partition), partition=partition)
    everything = {value for name in b"abc" for p in range(4) for value in values(30, b"%c%d-" % (name, p))}
    await until(lambda: set(first.handler.seen) | set(second.handler.seen) == everything, "nothing is lost")
    await until(
        lambda: all(bench.committed(group, topic, partition) == 134 for partition in range(4)), "all is committed"
    )


async def test_a_partition_keeps_its_member_when_another_one_joins(bench):
    """Sticky: nobody's partitions are reshuffled, only the share of the new member moves."""
    topic, group = await bench.topic(partitions=6), bench.group()
    first, second = bench.ours(topic, group), bench.ours(topic, group)
    await first.start()
    await second.start()
    await until(lambda: len(second.lanes.ledger.partitions) == 3, "the second has its share")
    before = first.lanes.ledger.partitions, second.lanes.ledger.partitions
    third = bench.ours(topic, group)
    await third.start()
    await until(lambda: len(third.lanes.ledger.partitions) == 2, "the third has its share")
    await until(
        lambda: len(first.lanes.ledger.partitions) == len(second.lanes.ledger.partitions) == 2, "so have others"
    )
    assert first.lanes.ledger.partitions < before[0]
    assert second.lanes.ledger.partitions < before[1]


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(bench):
    """Stock Faust compares with the old offsets and drops every new record; the rows own the work, but why wait?"""
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group)
    await bench.produce(topic, values(20))
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 20, "the first topic is worked off")
    await asyncio.to_thread(bench.admin.delete_topics([topic])[topic].result, 15)
    await asyncio.sleep(1)
    await bench.topic(name=topic)
    await bench.produce(topic, values(4, b"anew"))
    await until(lambda: set(values(4, b"anew")) <= set(worker.handler.seen), "the new topic is read")


async def test_a_drain_commits_leaves_and_gives_back_what_does_not_finish(bench):
    topic, group = await bench.topic(), bench.group()
    worker = bench.ours(topic, group, slots=2, running=2)
    worker.handler.finish = asyncio.Event()
    await bench.produce(topic, values(6))
    await worker.start()
    await until(lambda: len(worker.handler.seen) == 2, "two jobs run")
    await worker.lanes.stop_intake()
    await worker.member.leave()
    # Two were claimed; four wait in the topic for somebody else, who gets them while the jobs still run.
    assert bench.committed(group, topic) == 3
    other = bench.ours(topic, group)
    await other.start()
    await until(lambda: sorted(other.handler.seen) == values(6)[2:], "another worker has the rest at once")
    finished, returned, abandoned = await worker.lanes.drain(0.1)
    assert (finished, sorted(returned), abandoned) == ((), values(2), ())
    assert sorted(worker.handler.given_back) == values(2)
