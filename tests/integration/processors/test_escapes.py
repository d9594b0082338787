"""Whatever a child does that somebody has taken over, it can be killed, and the nursery goes on for the others."""

import asyncio
import os
import signal

import pytest
from support.processes import alive, descendants, until

from processors.contract import MediaError
from processors.sandbox.handle import NurseryHandle
from schemas.errors import ErrorCode
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

PHOTO = len(profiles_for(Stage.IMAGE_PRIMARY))
DYING = ["leave", "traced", "trace", "headless"]
WAYS = [*DYING, "held"]  # held at its exit, a child is not dead, but for its job's timeout


@pytest.fixture
def escape(children, tmp_path):
    """Have a child of a bench escape in a way, and then stay, or `die`."""

    def run(bench, way, end="stay"):
        before = set(bench.folder.glob("cell-*/escaped"))
        path = tmp_path / f"{way}-{end}"
        path.write_text(f"{way} {end}")
        job = bench.submit(path, tmp_path)
        if end == "stay":
            until(lambda: set(bench.folder.glob("cell-*/escaped")) - before, "it has escaped")
        return job

    return run


@pytest.mark.parametrize("way", WAYS)
def test_a_child_that_escapes_is_killed_with_what_it_started(make_bench, escape, photo, tmp_path, way):
    bench = make_bench(around="escapes:around")
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    job = escape(bench, way)
    below = descendants(nursery)
    assert child in below
    job.cancel()
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    until(lambda: not any(map(alive, below)), "all are gone")
    assert bench.pool.pids[0] == nursery
    assert child not in bench.pool.pids


@pytest.mark.parametrize("way", DYING)
def test_a_child_that_escapes_and_dies_is_buried(make_bench, escape, photo, tmp_path, way):
    bench = make_bench(around="escapes:around")
    bench.run(photo, tmp_path)
    nursery = bench.pool.pids[0]
    with pytest.raises(MediaError) as caught:
        escape(bench, way, "die").result(30)
    assert caught.value.code is ErrorCode.CHILD_DIED
    assert "status 3" in caught.value.detail, "it was told of before anybody gave up waiting"
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    assert not descendants(nursery) - set(bench.pool.pids)
    assert bench.pool.pids[0] == nursery


@pytest.mark.parametrize("way", WAYS)
def test_a_living_child_that_escaped_holds_up_no_other(make_bench, escape, photo, tmp_path, way):
    bench = make_bench(workers=2, around="escapes:around")
    bench.run(photo, tmp_path)
    staying = escape(bench, way)
    for other in DYING:
        with pytest.raises(MediaError) as caught:
            escape(bench, other, "die").result(30)
        assert "status 3" in caught.value.detail
        assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    assert not staying.done()
    below = descendants(os.getpid()) & (descendants(bench.pool.pids[0]) | set(bench.pool.pids))
    asyncio.run_coroutine_threadsafe(bench.pool.close(0), bench.loop).result(30)
    assert not any(map(alive, below))


@pytest.mark.parametrize("way", WAYS)
def test_kill_9_of_the_worker_leaves_no_process_that_escaped(children, start_worker, tmp_path, way):
    (tmp_path / "job").write_text(way)
    with start_worker(tmp_path / "job", tmp_path, Stage.IMAGE_PRIMARY, around="escapes:around") as worker:
        until(lambda: [*tmp_path.glob("cell-*/escaped")], "it has escaped")
        below = descendants(worker.pid)
        worker.kill()
        worker.wait()
    until(lambda: not any(map(alive, below)), "nursery and children are gone")


def test_a_nursery_that_tells_of_no_birth_is_lost(monkeypatch, tmp_path):
    monkeypatch.setattr("processors.sandbox.handle._BIRTH_BOUND_S", 0.2)

    async def one():
        nursery = NurseryHandle(ProcessorSettings(), 1, tmp_path)
        first = nursery.spawn()
        nursery.listen()
        while not first.pid:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.01)
        (number, *_) = nursery.pids
        os.kill(number, signal.SIGSTOP)
        child = nursery.spawn()
        await child.wait_gone(30)
        assert not nursery.alive
        assert not first.alive
        assert await child.receive() is None, "a job that it was given ends, too"
        await nursery.close()
        assert not alive(number)

    asyncio.run(one())
