"""What is done now and then beside the requests goes on whatever becomes of it, and ends with them."""

import asyncio

from structlog.testing import capture_logs

from api.periodic import every


async def test_it_is_done_again_after_it_failed_and_not_after_the_end():
    done, thrice = [], asyncio.Event()

    async def act():
        done.append(True)
        if len(done) == 3:
            thrice.set()
        raise ValueError("no")

    with capture_logs() as lines:
        async with asyncio.timeout(10), every(0, act):
            await thrice.wait()
    assert [line["log_level"] for line in lines] == ["error"] * len(done)
    before = len(done)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(done) == before
