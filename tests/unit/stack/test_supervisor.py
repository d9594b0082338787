"""Who asks for more parts while a stack comes up gets them of a stack that stays, or is told that it ends."""

import asyncio

import pytest

from cli.stack import control
from cli.stack.control import Options, Request
from cli.stack.errors import StackError
from cli.stack.layout import Layout
from cli.stack.supervisor import Supervisor


@pytest.fixture
def asked():
    """What the supervisor was to bring up, in order."""
    return []


@pytest.fixture
def coming_up(tmp_path, monkeypatch, asked):
    """A stack on its way up, and another caller who waits for more parts; `release` ends its start."""

    async def begin(failure=None):
        released, waiting = asyncio.Event(), asyncio.Event()

        async def up(_, wanted):
            asked.append(tuple(wanted))
            if len(asked) == 1:
                await released.wait()
                if failure:
                    raise failure

        acquire = asyncio.Lock.acquire

        async def acquired(lock):
            if lock.locked():
                waiting.set()
            return await acquire(lock)

        monkeypatch.setattr(Supervisor, "_up", up)
        monkeypatch.setattr(asyncio.Lock, "acquire", acquired)
        files = Layout(tmp_path)
        files.make()
        supervisor = Supervisor(files, Options(parts=("postgres",)), lambda _: None)
        running = asyncio.create_task(supervisor.run())
        while not asked:  # noqa: ASYNC110 - the control socket is there from then on
            await asyncio.sleep(0)
        request = Request(op="ensure", parts=("api",))
        more = asyncio.create_task(asyncio.to_thread(control.call, files.control, request))
        await waiting.wait()
        return supervisor, running, more, released.set

    return begin


async def test_nothing_is_started_in_a_stack_that_failed(coming_up, asked):
    _, running, more, release = await coming_up(StackError("postgres did not start"))
    release()
    with pytest.raises(StackError, match="the stack is ending"):
        await more
    assert await running == 1
    assert asked == [("postgres",)]


async def test_nothing_is_started_in_a_stack_that_was_stopped(coming_up, asked):
    supervisor, running, more, _ = await coming_up()
    supervisor.stop(quick=False)
    with pytest.raises(StackError, match="the stack is ending"):
        await more
    assert await running == 0
    assert asked == [("postgres",)]


async def test_a_stack_that_came_up_brings_up_the_rest(coming_up, asked):
    supervisor, running, more, release = await coming_up()
    release()
    await more
    assert asked == [("postgres",), ("api",)]
    supervisor.stop(quick=False)
    assert await running == 0
