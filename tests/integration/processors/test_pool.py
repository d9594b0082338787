"""The pool under everything that can happen to a child: killed, stuck, out of memory, cancelled, its worker gone."""

import asyncio
import errno
import os
import signal
import threading
from pathlib import Path

import pytest
from PIL import Image
from support.processes import alive, descendants, ffmpeg_below, until

from processors.contract import MediaError, Source
from processors.pool import MediaPool
from schemas.errors import ErrorClass, ErrorCode
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

VIDEO = Stage.VIDEO_PRIMARY
PHOTO = len(profiles_for(Stage.IMAGE_PRIMARY))  # renditions of one


def test_a_killed_child_is_a_transient_failure_and_the_next_job_works(make_bench, long_video, photo, tmp_path):
    bench = make_bench()
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    job = bench.submit(long_video, tmp_path, VIDEO)
    encoders = until(lambda: ffmpeg_below(child), "ffmpeg runs")
    os.kill(child, signal.SIGKILL)
    with pytest.raises(MediaError) as caught:
        job.result(30)
    assert caught.value.code is ErrorCode.CHILD_DIED
    assert caught.value.error_class is ErrorClass.TRANSIENT
    assert "SIGKILL" in caught.value.detail
    until(lambda: not any(map(alive, encoders)), "ffmpeg is gone with its child")
    made, _ = bench.run(photo, tmp_path)
    assert len(made) == 4
    assert bench.pool.pids[0] == nursery
    assert child not in bench.pool.pids


def test_a_timeout_kills_child_and_ffmpeg(make_bench, long_video, photo, tmp_path):
    bench = make_bench(video_timeout_s=3.0, video_timeout_ratio=0.001)
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    with pytest.raises(MediaError) as caught:
        bench.run(long_video, tmp_path, VIDEO)
    assert caught.value.code is ErrorCode.PROCESSING_TIMEOUT
    cost = caught.value.cost
    assert 0.05 < cost.cpu_s < 3.0 * os.cpu_count() + 1, (
        "what ffmpeg took until it was killed, not what jobs before it did"
    )
    assert cost.max_rss_mb > 30
    assert not alive(child)
    assert not ffmpeg_below(nursery)
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO


def test_a_long_film_may_take_longer_than_a_short_one(children, make_bench, make_video, photo, tmp_path):
    bench = make_bench(video_timeout_s=4.0, video_timeout_ratio=600.0, around="late:around")
    bench.run(photo, tmp_path)
    made, _ = bench.run(make_video(), tmp_path, VIDEO)
    assert set(made) == {"poster", "video_720p", "preview"}


def test_a_film_that_fails_in_the_middle_says_what_it_cost(make_bench, long_video, tmp_path):
    size = long_video.stat().st_size
    bench = make_bench(max_temp_bytes=size + 500_000)
    (tmp_path / "film.mp4").write_bytes(long_video.read_bytes())
    costs, children = [], set()
    for _ in range(2):
        with pytest.raises(MediaError) as caught:
            bench.run(tmp_path / "film.mp4", tmp_path, VIDEO)
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
        costs.append(caught.value.cost)
        children.add(bench.pool.pids)
    assert len(children) == 1, "the child itself lives on"
    for cost in costs:
        assert cost.cpu_s > 0.1
        assert cost.max_rss_mb > 30
        assert [step.name for step in cost.steps] == ["sniff", "probe", "ffmpeg"]
    assert max(cost.cpu_s for cost in costs) < 5 * min(cost.cpu_s for cost in costs), "each pays its own"


def test_a_child_that_tells_what_no_job_can_be_is_killed_and_costs_an_attempt(children, make_bench, photo, tmp_path):
    bench = make_bench(around="liar:around")
    told = []
    for _ in range(2):
        with pytest.raises(MediaError) as caught:
            bench.run(photo, tmp_path)
        assert caught.value.code is ErrorCode.PROCESSING_FAILED
        assert caught.value.error_class is ErrorClass.TRANSIENT
        assert caught.value.cost.cpu_s > 0.05, "what it took is the kernel's word"
        told.append(bench.pool.pids)
    (nursery, *before), (still, *after) = told
    assert nursery == still
    assert not set(before) & set(after)


def test_a_child_that_finds_no_room_costs_an_attempt(children, make_bench, photo, tmp_path):
    """It is the child's word, by which a job could wait for ever; the worker looks for room before it gives one out."""
    bench = make_bench(around="full:around")
    with pytest.raises(MediaError) as caught:
        bench.run(photo, tmp_path)
    assert caught.value.error_class is ErrorClass.TRANSIENT
    assert "No space left on device" in caught.value.detail


def test_nothing_that_a_child_started_outlives_it(children, make_bench, photo, tmp_path):
    """Not even in a session of its own, where no signal to the child's group comes."""
    bench = make_bench(around="strays:around")
    (tmp_path / "deadly").write_text("die")
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    strays = until(lambda: len(found := descendants(child)) == 12 and found, "all are started")
    with pytest.raises(MediaError) as caught:
        bench.run(tmp_path / "deadly", tmp_path)
    assert caught.value.code is ErrorCode.CHILD_DIED
    assert not any(map(alive, strays))
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    assert bench.pool.pids[0] == nursery
    strays = until(lambda: len(found := descendants(nursery)) >= 13 and found, "all are started again")
    asyncio.run_coroutine_threadsafe(bench.pool.close(0), bench.loop).result(30)
    assert not any(map(alive, strays))


def test_no_process_of_a_childs_may_run_for_ever(warm):
    limits = Path(f"/proc/{warm.pool.pids[-1]}/limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max cpu time")).split()[3:5]
    assert int(soft) < int(hard)


def test_cancelling_kills_child_and_ffmpeg_before_it_goes_on(make_bench, long_video, photo, tmp_path):
    bench = make_bench()
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    after = []

    async def cancelled():
        source = Source(str(long_video), 1, "", "")
        job = asyncio.ensure_future(bench.pool.process(VIDEO, source, tmp_path, profiles_for(VIDEO)))
        while not ffmpeg_below(child):  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)
        job.cancel()
        try:
            await job
        except asyncio.CancelledError:
            after.append((alive(child), ffmpeg_below(nursery)))

    asyncio.run_coroutine_threadsafe(cancelled(), bench.loop).result(60)
    assert after == [(False, set())]
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO


def test_without_disk_for_a_successor_a_cancelled_job_ends_as_such_and_the_next_one_says_why(
    monkeypatch, make_bench, long_video, photo, tmp_path
):
    bench = make_bench()
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async def cancelled():
        job = asyncio.ensure_future(bench.pool.process(VIDEO, Source(str(long_video), 1, "", ""), tmp_path, profiles))
        while not ffmpeg_below(child):  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)
        job.cancel()
        await asyncio.wait({job})
        return job.cancelled(), descendants(nursery)

    profiles = profiles_for(VIDEO)
    with monkeypatch.context() as patch:
        patch.setattr("processors.sandbox.handle.Cell", full)
        assert asyncio.run_coroutine_threadsafe(cancelled(), bench.loop).result(60) == (True, set())
        with pytest.raises(MediaError) as caught:
            bench.run(photo, tmp_path)
        assert caught.value.code is ErrorCode.NO_TEMP_SPACE
        assert caught.value.error_class is ErrorClass.DEPENDENCY
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    assert bench.pool.pids[0] == nursery


def test_more_jobs_than_children_wait_their_turn(make_bench, photo, tmp_path):
    bench = make_bench(workers=2)
    folders = [tmp_path / str(n) for n in range(5)]
    for folder in folders:
        folder.mkdir()
    jobs = [bench.submit(photo, folder) for folder in folders]
    assert all(len(job.result(120)[0]) == PHOTO for job in jobs)
    assert len(bench.pool.pids) == 3


def test_a_child_is_replaced_after_its_share_of_jobs(make_bench, photo, tmp_path):
    bench = make_bench(jobs_per_child=2)
    seen = []
    for _ in range(4):
        bench.run(photo, tmp_path)
        seen.append(bench.pool.pids[1:])
    assert seen[0] != seen[-1]


def test_a_picture_that_needs_more_memory_than_allowed_fails_for_good_and_the_pool_lives(make_bench, photo, tmp_path):
    path = tmp_path / "large.bmp"
    Image.new("RGB", (6000, 6000), (200, 100, 50)).save(path)
    assert len(make_bench().run(path, tmp_path)[0]) == PHOTO
    starved = make_bench(memory_mb=500)
    assert len(starved.run(photo, tmp_path)[0]) == PHOTO
    with pytest.raises(MediaError) as caught:
        starved.run(path, tmp_path)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    assert len(starved.run(photo, tmp_path)[0]) == PHOTO


def test_a_file_larger_than_a_child_may_write_is_a_permanent_failure(make_bench, photo, make_video, tmp_path):
    bench = make_bench(max_output_bytes=20_000)
    for path, stage in ((photo, Stage.IMAGE_PRIMARY), (make_video(seconds=3, size="640x480"), VIDEO)):
        with pytest.raises(MediaError) as caught:
            bench.run(path, tmp_path, stage)
        assert caught.value.error_class is ErrorClass.PERMANENT, caught.value


def test_children_stand_back_behind_their_worker(make_bench, photo, tmp_path):
    bench = make_bench(nice=7)
    bench.run(photo, tmp_path)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in bench.pool.pids] == [max(own, 7)] * 2


def test_a_dead_nursery_fails_its_jobs_and_is_started_again(make_bench, long_video, photo, tmp_path):
    bench = make_bench()
    bench.run(photo, tmp_path)
    nursery, child = bench.pool.pids
    job = bench.submit(long_video, tmp_path, VIDEO)
    encoders = until(lambda: ffmpeg_below(child), "ffmpeg runs")
    os.kill(nursery, signal.SIGKILL)
    with pytest.raises(MediaError) as caught:
        job.result(30)
    assert caught.value.code is ErrorCode.CHILD_DIED
    until(lambda: not any(map(alive, [child, *encoders])), "everything below it is gone")
    assert len(bench.run(photo, tmp_path)[0]) == PHOTO
    assert bench.pool.pids[0] != nursery


def test_kill_9_of_the_worker_leaves_no_process(start_worker, long_video, tmp_path):
    with start_worker(long_video, tmp_path, VIDEO) as worker:
        until(lambda: ffmpeg_below(worker.pid), "ffmpeg runs")
        below = descendants(worker.pid)
        assert len(below) >= 4  # nursery, two children, ffmpeg
        worker.kill()
        worker.wait()
    until(lambda: not any(map(alive, below)), "nursery, children and ffmpeg are gone")


def test_closing_waits_for_running_jobs_and_then_no_longer(make_bench, photo, long_video, tmp_path):
    bench = make_bench()
    job = bench.submit(photo, tmp_path)
    until(lambda: bench.pool.busy, "the job runs")
    asyncio.run_coroutine_threadsafe(bench.pool.close(60), bench.loop).result(90)
    assert len(job.result(0)[0]) == PHOTO
    with pytest.raises(MediaError):
        bench.run(photo, tmp_path)

    bench = make_bench()
    job = bench.submit(long_video, tmp_path, VIDEO)
    pids = until(lambda: bench.pool.busy and bench.pool.pids, "the job runs")
    asyncio.run_coroutine_threadsafe(bench.pool.close(0.1), bench.loop).result(30)
    with pytest.raises(MediaError) as caught:
        job.result(10)
    assert caught.value.code is ErrorCode.CHILD_DIED
    assert not any(map(alive, pids))


def test_a_nursery_that_cannot_start_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("processors.sandbox.handle.sys.executable", "/bin/false")
    with pytest.raises(MediaError) as caught:
        MediaPool(ProcessorSettings(), workers=1, folder=tmp_path).start()
    assert caught.value.code is ErrorCode.PROCESSING_FAILED
    assert "nursery did not start" in caught.value.detail


def test_starting_in_a_process_with_threads_is_safe(photo, tmp_path):
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        pool = MediaPool(ProcessorSettings(), workers=1, folder=tmp_path)
        pool.start()
        stage = Stage.IMAGE_PRIMARY

        async def one():
            source = Source(str(photo), 1, "", "")
            made, _ = await pool.process(stage, source, tmp_path, profiles_for(stage))
            await pool.close(5)
            return made

        assert len(asyncio.run(one())) == PHOTO
    finally:
        stop.set()
        for thread in threads:
            thread.join()
