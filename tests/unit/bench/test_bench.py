"""The bench's own arithmetic and tools: percentiles, goals, load, CPU accounting, the counting receiver."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from aiohttp import web
from click.testing import CliRunner
from support.servers import serving

from cli.bench import command
from cli.bench.figures import GOALS, REFERENCE, Figure, Goal, line, quantiles, verdict
from cli.bench.load import LoadError, drive, request
from cli.bench.processes import cpu_seconds, resident_mb
from cli.bench.webhooks import _bare_loop, _counted, _receiver
from schemas.errors import ErrorCode, MedialaneError


def test_percentiles_are_nearest_ranks_in_milliseconds():
    seconds = [index / 1000 for index in range(100, 0, -1)]
    assert [figure.value for figure in quantiles("x", seconds)] == pytest.approx([50, 95, 99])
    assert [figure.name for figure in quantiles("x", seconds)] == ["x_p50_ms", "x_p95_ms", "x_p99_ms"]
    assert quantiles("x", [0.003], (99,)) == [Figure("x_p99_ms", 3.0, "ms")]


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="nothing was measured"):
        quantiles("x", [])


def measured_x(progress, folder, wanted, found, *, quick):
    found.figures.append(Figure("x", 2.0, "s"))


@pytest.mark.parametrize(
    ("options", "name"),
    [([], "bench.json"), (["--only", "images"], "bench-partial.json"), (["--quick"], "bench-partial.json")],
)
def test_figures_that_are_no_whole_runs_leave_the_last_whole_runs(tmp_path, monkeypatch, options, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_measure", measured_x)
    monkeypatch.setattr(command, "_demo_times", lambda *_: None)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bench.json").write_text('{"x": 1.0}')
    assert CliRunner().invoke(command.bench, options).exit_code == 0
    assert json.loads((tmp_path / "build" / name).read_text()) == {"x": 2.0}
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == {"x": 1.0 if options else 2.0}


def test_what_was_measured_is_kept_when_the_last_step_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_measure", measured_x)
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    ended = CliRunner().invoke(command.bench, [])
    assert ended.exit_code == 1
    assert "x 2 s" in ended.output
    assert "the demo failed (exit 1)" in ended.output
    assert json.loads((tmp_path / "build" / "bench-partial.json").read_text()) == {"x": 2.0}
    assert not (tmp_path / "build" / "bench.json").exists()


@pytest.mark.parametrize("ends", [KeyboardInterrupt, MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "away"), OSError])
def test_what_was_measured_is_kept_whatever_ends_the_run(ends, tmp_path, monkeypatch):
    def demo(*_):
        raise ends

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_measure", measured_x)
    monkeypatch.setattr(command, "_demo_times", demo)
    assert CliRunner().invoke(command.bench, []).exit_code != 0
    assert json.loads((tmp_path / "build" / "bench-partial.json").read_text()) == {"x": 2.0}


def test_what_does_not_come_in_time_is_said_with_its_kind_and_keeps_the_others(tmp_path, monkeypatch):
    class Started:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def log(self, name):
            return tmp_path / "logs" / name

    def late(bench):
        raise TimeoutError

    async def none(bench):
        return {}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.Stack, "start", lambda *_, **__: Started())
    for name in ("platform_of", "_speed"):
        monkeypatch.setattr(command, name, lambda *_: "")
    monkeypatch.setattr(command, "settings_in_force", none)
    monkeypatch.setattr(command, "KINDS", {"latency": lambda _: [Figure("x", 2.0, "s")], "api": late})
    ended = CliRunner().invoke(command.bench, ["--only", "latency", "--only", "api"])
    assert ended.exit_code == 1
    assert "api: what was waited for did not come in time" in ended.output.replace("\n", " ")
    assert json.loads((tmp_path / "build" / "bench-partial.json").read_text()) == {"x": 2.0}


def test_the_demo_of_the_bench_leaves_no_stack_and_says_where_the_cold_time_is_from(tmp_path, monkeypatch):
    def ran(argv, *, env, **_):
        assert "KEEP" not in env
        (tmp_path / "build" / "demo.json").write_text('{"seconds": 20.5}')
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEEP", "1")
    monkeypatch.setattr(command, "_measure", measured_x)
    monkeypatch.setattr(command.subprocess, "run", ran)
    assert "demo_cold_s: not measured here: deploy/chroot-demo.sh" in CliRunner().invoke(command.bench, []).output
    cold = tmp_path / "build" / "demo-cold.json"
    cold.write_text('{"seconds": 90}')
    os.utime(cold, (1_767_225_600, 1_767_225_600))
    said = CliRunner().invoke(command.bench, []).output
    assert "demo_cold_s: measured by deploy/chroot-demo.sh at 2026-01-01 00:00 UTC" in said
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == {
        "x": 2.0, "demo_warm_s": 20.5, "demo_cold_s": 90
    }  # fmt: skip


def test_a_helper_ends_with_the_standard_input_that_its_caller_held():
    argv = [sys.executable, "-m", "cli.bench.counter"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdout.readline().strip().isdigit()
        helper.stdin.close()  # as the kernel does for a caller that was killed
        try:
            assert helper.wait(30) == 0
        finally:
            helper.kill()


def test_a_line_is_name_value_unit():
    assert line(Figure("image_jobs_per_s", 7.6543, "1/s")) == "image_jobs_per_s 7.654 1/s"


def test_goals_are_judged_in_their_sense():
    assert Goal(">=", 0.85).met(0.85)
    assert not Goal(">=", 0.85).met(0.84)
    assert Goal("<=", 40).met(40)
    assert not Goal("<=", 40).met(41)
    assert "NOT MET" in verdict(Figure("image_ratio_to_bare_loop", 0.5, ""))
    assert "goal >= 7.6: met, reference 3.8 (2.00x)" in verdict(Figure("image_jobs_per_s", 7.6, "1/s"))
    assert verdict(Figure("rss_mb_api", 7.6, "MiB")) == ""


def test_no_figure_of_the_reference_is_zero():
    assert all(value > 0 for value in REFERENCE.values())
    assert all(goal.bound > 0 for goal in GOALS.values())


@pytest.fixture
async def server():
    seen = []

    async def handle(request):
        seen.append((request.method, await request.read()))
        if request.path == "/chunked":
            answer = web.StreamResponse()
            answer.enable_chunked_encoding()
            await answer.prepare(request)
            await answer.write(b"hello ")
            await answer.write(b"world")
            await answer.write_eof()
            return answer
        return web.Response(status=500 if request.path == "/bad" else 200, text="fine")

    async with serving(handle) as address:
        yield address, seen


async def test_every_request_is_sent_once_and_timed(server):
    address, seen = server
    requests = [request("POST", "/x", host="h", headers={}, body=str(index).encode()) for index in range(50)]
    load = await drive(address, requests, clients=7)
    assert sorted(int(body) for _, body in seen) == list(range(50))
    assert len(load.seconds) == 50
    assert load.bodies == [b"fine"] * 50
    assert load.per_s > 0


async def test_chunked_answers_are_read(server):
    address, _ = server
    load = await drive(address, [request("GET", "/chunked", host="h", headers={})] * 3, clients=1)
    assert load.bodies == [b"hello world"] * 3


async def test_an_error_is_no_figure(server):
    address, _ = server
    with pytest.raises(LoadError, match="GET /bad: answered 500"):
        await drive(address, [request("GET", "/bad", host="h", headers={})], clients=2)


def test_cpu_of_descendants_counts_also_after_their_end():
    burn = "import time\nend=time.process_time()+0.3\nwhile time.process_time()<end: pass"
    script = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "print('burnt', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        before = cpu_seconds({"it": child.pid})["it"]
        child.stdout.readline()
        after = cpu_seconds({"it": child.pid})["it"]
        child.stdin.close()
    assert after - before > 0.25


def test_memory_counts_children_and_skips_the_dead():
    own = resident_mb({"me": os.getpid(), "gone": 2**22 + 1})
    assert set(own) == {"me"}
    with subprocess.Popen([sys.executable, "-c", "b = b'x' * 50_000_000; print(1, flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # fmt: skip
        child.stdout.readline()
        with_child = resident_mb({"me": os.getpid()})["me"]
        child.stdin.close()
    assert with_child - own["me"] > 45


async def test_the_bare_loop_signs_and_the_receiver_counts():
    async with _receiver() as address:
        before = time.time()
        await _bare_loop(f"{address}/hook", 200)
        counted = await _counted(address)
    assert (counted.requests, counted.distinct) == (200, 200)
    assert before <= counted.first <= counted.last


async def test_the_receiver_reads_requests_in_pieces():
    async with _receiver() as address:
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        whole = request("POST", "/", host="h", headers={"webhook-id": "a"}, body=b"12345")
        for piece in (whole[:10], whole[10:-2], whole[-2:] + whole):
            writer.write(piece)
            await writer.drain()
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        counted = await _counted(address)
    assert (counted.requests, counted.distinct) == (2, 1)


async def test_a_slow_receiver_answers_no_sooner_than_it_was_told():
    async with _receiver(0.2) as address:
        began = time.monotonic()
        await _bare_loop(f"{address}/hook", 64)
        assert time.monotonic() - began >= 0.2
        assert (await _counted(address)).requests == 64
