"""One part is one process, whoever starts it."""

import asyncio

from cli.stack.layout import Layout
from cli.stack.parts import Part
from cli.stack.processes import Command
from cli.stack.runner import Runner
from cli.stack.state import Secrets, StackState


async def test_a_part_that_two_start_at_once_is_started_once(tmp_path):
    files = Layout(tmp_path)
    files.make()
    runner = Runner(files, StackState(secrets=Secrets.generate(), ports={}))
    both = asyncio.Barrier(2)

    async def ready():
        return True

    async def prepare():
        await both.wait()

    part = Part("it", Command(["sleep", "600"]), "", ready, prepare=prepare)
    results = await asyncio.gather(runner.start(part), runner.start(part), return_exceptions=True)
    assert [str(result) for result in results if result is not None] == ["it already runs"]
    await runner.kill("it")
