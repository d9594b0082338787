"""The walls around a child, also one that somebody has taken over: secrets, network, files, signals, capabilities."""

import os
import re
import runpy
import socket
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.processes import ffmpeg_below, until

from processors.contract import MediaError
from processors.sandbox import landlock
from schemas.states import Stage

VIDEO = Stage.VIDEO_PRIMARY


@pytest.fixture
def reached(children, tmp_path):
    """Which of some tries succeed in a child of a bench whose `around` is `nosy`."""

    def run(bench, tries, stage=Stage.IMAGE_PRIMARY):
        (tmp_path / "tries").write_text("\n".join(tries))
        with pytest.raises(MediaError) as caught:
            bench.run(tmp_path / "tries", tmp_path, stage)
        return caught.value.detail.splitlines()

    return run


def may_leave_the_network():
    """Whether this kernel lets somebody like us into a network of their own."""
    ways = (["unshare", *flags, "true"] for flags in (["--net"], ["--user", "--net"]))
    return any(subprocess.run(way, capture_output=True, check=False).returncode == 0 for way in ways)


@pytest.mark.skipif(not may_leave_the_network(), reason="namespaces of networks are forbidden here")
@pytest.mark.parametrize("stage", [Stage.IMAGE_PRIMARY, VIDEO])
def test_a_child_that_was_taken_over_reaches_no_network(reached, make_bench, stage):
    bench = make_bench(around="nosy:around")
    assert bench.pool.walls.network
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        tries = [f"tcp {tcp.getsockname()[1]}", f"udp {udp.getsockname()[1]}"]
        acts = runpy.run_path(str(Path(__file__).parent / "children/nosy.py"))["ACTS"]
        for each in tries:
            name, port = each.split()
            acts[name](port)  # here it succeeds
        assert reached(bench, [*tries, "signal 0"], stage) == ["signal 0"]
    for pid in bench.pool.pids:
        assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_children_see_no_secret(monkeypatch, make_bench, photo, tmp_path):
    monkeypatch.setenv("MEDIALANE_DATABASE_URL", "postgresql://user:SECRET-MARK@host/db")
    bench = make_bench()
    bench.run(photo, tmp_path)
    for pid in bench.pool.pids:
        assert b"SECRET-MARK" not in Path(f"/proc/{pid}/environ").read_bytes()
    child = bench.pool.pids[1]
    # Standard streams and the socket to the worker; nothing of the worker's or of other children's.
    assert len(list(Path(f"/proc/{child}/fd").iterdir())) <= 8
    assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{child}/limits").read_text())


def test_what_a_child_says_is_logged_as_its_words_and_cut(children, make_bench, photo, tmp_path):
    """It holds neither the worker's log nor anything that the worker would wait for."""
    with capture_logs() as logged:
        bench = make_bench(around="talker:around")
        bench.run(photo, tmp_path)
        for pid in bench.pool.pids:
            assert not Path(f"/proc/{pid}/fd/2").samefile("/proc/self/fd/2")
        until(lambda: logged, "its words are in the log")
        bench.run(photo, tmp_path)
    assert {line["event"] for line in logged} == {"words of a media child"}
    assert all(len(line["text"]) <= 2000 for line in logged)
    assert logged[0]["left_out"] > 0


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("stage", [Stage.IMAGE_PRIMARY, VIDEO])
def test_a_child_that_was_taken_over_reaches_its_cell_and_no_other_file(reached, make_bench, tmp_path, stage):
    other = tmp_path / "other"
    other.write_text("another tenant's")
    bench = make_bench(workers=2, around="nosy:around")
    assert bench.pool.walls.files
    cells = list(bench.folder.glob("cell-*"))
    assert len(cells) == 2
    tries = [
        f"read {other}", f"write {other}", f"remove {other}", f"link {other}", f"write {tmp_path}/new",
        f"list {tmp_path}", f"list {bench.folder}", "list /", "read /etc/passwd", "read /proc/self/environ",
        f"read /proc/{os.getpid()}/environ", f"read {Path(__file__).parents[3]}/README.md", "write /tmp/medialane-new",
    ]  # fmt: skip
    in_reach = ["read source.bin", "write mine", *(f"list {cell}" for cell in cells)]
    read, wrote, own = reached(bench, [*tries, *in_reach], stage)
    assert (read, wrote) == ("read source.bin", "write mine")
    assert own in {f"list {cell}" for cell in cells}, "its own cell, and not its sibling's"
    assert other.read_text() == "another tenant's"
    assert not any(any(cell.iterdir()) for cell in cells), "nothing stays for the next job"


@pytest.mark.skipif(not landlock.keeps_signals(), reason="this kernel's Landlock cannot keep signals in")
@pytest.mark.parametrize("stage", [Stage.IMAGE_PRIMARY, VIDEO])
def test_a_child_that_was_taken_over_signals_nobody_but_itself(reached, make_bench, stage):
    bench = make_bench(workers=2, around="nosy:around")
    assert bench.pool.walls.signals

    def signalled(*pids):
        return reached(bench, [f"signal {pid}" for pid in pids], stage)

    assert signalled(0) == ["signal 0"]
    nursery, *children = until(lambda: len(bench.pool.pids) == 3 and bench.pool.pids, "both children are known")
    own, by_number = signalled(0, os.getpid(), nursery, *children)
    assert own == "signal 0"
    assert by_number in {f"signal {child}" for child in children}, "its own number, and not its sibling's"


def closed_to_the_powerless():
    """Whether root reaches the code by privilege alone, as in another user's closed home: then it has to keep it."""
    code = map(str, [*landlock.of_python(), *landlock.homes_of(("ffmpeg", "ffprobe"))])
    argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "ls", *code]
    return os.geteuid() == 0 and subprocess.run(argv, capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(closed_to_the_powerless(), reason="the code is in another user's closed folder")
def test_children_and_ffmpeg_hold_no_capability(make_bench, long_video, photo, tmp_path):
    bench = make_bench()
    assert bench.pool.walls.privileges
    bench.run(photo, tmp_path)
    child = bench.pool.pids[1]
    job = bench.submit(long_video, tmp_path, VIDEO)
    encoders = until(lambda: ffmpeg_below(child), "ffmpeg runs")
    for pid in (*bench.pool.pids, *encoders):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        held = dict(
            line.split(":\t") for line in lines if line.startswith(("CapPrm", "CapEff", "CapInh", "NoNewPrivs"))
        )
        assert {name: int(value, 16) for name, value in held.items()} == {
            "CapPrm": 0, "CapEff": 0, "CapInh": 0, "NoNewPrivs": 1
        }  # fmt: skip
    job.cancel()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has what could be taken")
def test_a_child_of_roots_is_nobody_special(reached, make_bench):
    bench = make_bench(around="nosy:around")
    assert reached(bench, ["become 65534", "hand over 65534", "signal 0"]) == ["signal 0"]
