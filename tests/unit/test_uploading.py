"""`medialane upload` while it runs."""

import asyncio
import io

from rich.console import Console
from support.streams import until

from cli.common.transfers import transfers
from cli.upload import ABOUT_NOTHING, _Run
from schemas.ids import uuid7


async def test_each_file_is_told_of_when_it_has_ended(tmp_path):
    """An interruption then loses the ids of none that is there."""
    slow, fast, told, goes_on = tmp_path / "slow.jpg", tmp_path / "fast.jpg", [], asyncio.Event()

    class Client:
        async def upload(self, name, *_, **__):
            if name == slow.name:
                await goes_on.wait()
            return uuid7()

    for path in (slow, fast):
        path.write_bytes(b"jpeg")
    run = _Run(
        transfers(Console(file=io.StringIO()), disable=True), wait=False, settled=False, timeout_s=1, parallel=2,
        content_type=None, about=ABOUT_NOTHING,
    )  # fmt: skip
    running = asyncio.create_task(run.all(Client(), [slow, fast], told.append))
    await until(lambda: told, "the fast one has ended", 10)
    assert ([one.path for one in told], running.done()) == ([fast], False)
    goes_on.set()
    assert [one.path for one in await running] == [slow, fast]
    assert len(told) == 2
