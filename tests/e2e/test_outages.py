"""The object store or Postgres away in mid-job: nobody loses an attempt, and all goes on by itself."""

import asyncio
import contextlib
import signal

import pytest
from support import e2e
from support.hurry import FIRST

from cli.harness.samples import distinct
from schemas.errors import MedialaneError

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

STORE_UP = 'media_dependency_up{dependency="object_store"}'
ENDS_LATER = "finished work waits"
QUEUED = 3


@pytest.fixture
async def under_way(owner, held, samples):
    """A job that runs until it is let go on, and as many more as wait behind it: all of one tenant."""
    one = held()
    first = await owner.upload("long.jpg", "image/jpeg", one.content)
    await one.run(1)
    presigned = []
    for number in range(QUEUED):
        content = distinct(samples.photos[1].read_bytes(), f"queued {number}")
        found = await owner.client.presign(f"{number}.jpg", "image/jpeg", len(content))
        await owner.client.put(found, content, "image/jpeg")
        presigned.append(found.asset_id)
    return one, first, presigned


async def everything_finished(owner, assets):
    """Every asset is ready, its job done at no cost, its events told, each of its variants one object."""
    for asset_id in assets:
        asset = await owner.ready(asset_id)
        await owner.told(asset_id)
        await owner.finished_once(asset)
        [job] = await owner.ledger.jobs(asset_id)
        assert (job.state, job.attempts, job.deaths) == ("done", 0, 0)
        assert await owner.ledger.dead_letters(asset_id) == []
    assert len(owner.objects()) == 3 * len(assets)


async def test_the_object_store_away(crew, owner, under_way):
    one, first, behind = under_way
    for asset_id in behind:
        await owner.client.complete(asset_id)
    await asyncio.to_thread(crew.stack.stop_part, "s3")
    for number in range(1, 10):
        one.let_go(number)

    async def put_back():
        [job] = await owner.ledger.jobs(first)
        assert (job.attempts, job.deaths) == (0, 0)
        return job.state in {"waiting", "queued"}

    await e2e.eventually(put_back, "the job waits in its row for the store")

    async def gate_closed():
        return (await crew.figures(FIRST))[STORE_UP] == 0

    await e2e.eventually(gate_closed, "the worker knows, and claims nothing")
    assert not await crew.is_ready(FIRST)

    await asyncio.to_thread(crew.stack.start_part, "s3")
    await everything_finished(owner, [first, *behind])
    assert (await crew.figures(FIRST))[STORE_UP] == 1

    async def ready_again():
        return await crew.is_ready(FIRST)

    await e2e.eventually(ready_again, "the worker is ready again")


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_postgres_restarted(crew, owner, under_way, how):
    one, first, behind = under_way
    for asset_id in behind:
        await owner.client.complete(asset_id)
    worker, said = crew.pid(FIRST), len(crew.stack.log(FIRST).read_text(errors="replace"))
    if how == "stopped":
        await asyncio.to_thread(crew.stack.stop_part, "postgres")
    else:
        await asyncio.to_thread(crew.stack.kill, "postgres", signal.SIGKILL)
    for number in range(1, 10):
        one.let_go(number)

    async def end_waits():
        return ENDS_LATER in crew.stack.log(FIRST).read_text(errors="replace")[said:]

    await e2e.eventually(end_waits, "the work is done, and waits for the database")
    await asyncio.to_thread(crew.stack.start_part, "postgres")

    async def database_answers():
        # This test's own connections were killed as well; each says so once.
        with contextlib.suppress(MedialaneError):
            return await owner.ledger.events(first) is not None

    await e2e.eventually(database_answers, "the database answers this test")
    await everything_finished(owner, [first, *behind])
    assert crew.pid(FIRST) == worker

    async def ready_again():
        return await crew.is_ready(FIRST)

    await e2e.eventually(ready_again, "the worker is ready again")
