"""A queue that is worked off in batches, whatever some of its items do."""

import asyncio

import pytest

from schemas.errors import ErrorCode, MedialaneError
from streams.webhooks import batches as module
from streams.webhooks.batches import MAX_BATCH, Batches


class Work:
    """Does items, but for the poisonous ones and batches that are too big; remembers every batch's size."""

    def __init__(self, poison=(), most=MAX_BATCH, at_once=MAX_BATCH):
        self.poison, self.most, self.at_once = set(poison), most, at_once
        self.done, self.hopeless, self.sizes = [], [], []
        self.batches = Batches("items", self.work, self.give_up, gather_s=0)

    async def work(self, batch):
        self.sizes.append(len(batch))
        await asyncio.sleep(0)
        if len(batch) > self.most:
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)
        if self.poison & set(batch):
            raise ValueError("poison")
        self.done += batch[: self.at_once]
        return min(len(batch), self.at_once)

    def give_up(self, item, error):
        self.hopeless.append((item, str(error)))

    async def all(self, count):
        for item in range(count):
            self.batches.put(item)
        running = asyncio.create_task(self.batches.run())
        async with asyncio.timeout(30):
            await self.batches.emptied()
        self.batches.stop()
        await running


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    async def pause(_failures):
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "pause", pause)


async def test_everything_is_done_in_order_in_full_batches():
    work = Work()
    await work.all(1200)
    assert work.done == list(range(1200))
    assert work.sizes == [MAX_BATCH, MAX_BATCH, 200]


async def test_one_that_can_never_succeed_is_found_and_the_rest_goes_on_in_full_batches():
    work = Work(poison=[333])
    await work.all(20 * MAX_BATCH)
    assert work.hopeless == [(333, "poison")]
    assert work.done == [item for item in range(20 * MAX_BATCH) if item != 333]
    assert MAX_BATCH in work.sizes[work.sizes.index(1) :]
    assert len(work.sizes) < 100


async def test_nothing_but_hopeless_items_ends_too():
    work = Work(poison=range(50))
    await work.all(50)
    assert [item for item, _ in work.hopeless] == list(range(50))


async def test_batches_that_are_too_big_for_the_database_become_smaller():
    work = Work(most=60)
    await work.all(1000)
    assert work.done == list(range(1000))
    assert not work.hopeless


async def test_one_alone_waits_for_the_database_and_is_not_hopeless():
    work = Work(most=0)
    work.batches.put(1)
    running = asyncio.create_task(work.batches.run())
    async with asyncio.timeout(30):
        while len(work.sizes) < 20:  # noqa: ASYNC110 - the work tells nobody
            await asyncio.sleep(0)
    assert (len(work.batches), work.hopeless) == (1, [])
    work.most = 1
    await work.batches.emptied()
    assert work.done == [1]
    work.batches.stop()
    await running


async def test_what_the_work_leaves_of_a_batch_comes_first_in_the_next():
    work = Work(at_once=7)
    await work.all(100)
    assert work.done == list(range(100))


async def test_a_stop_leaves_what_waits():
    work = Work(most=0)
    work.batches.put(1)
    work.batches.stop()
    async with asyncio.timeout(30):
        await work.batches.run()
    assert len(work.batches) == 1
