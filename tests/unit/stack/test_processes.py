"""Processes are known by pid and start time: nobody else's is ever signalled."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cli.stack import watch
from cli.stack.layout import TEMPLATES
from cli.stack.processes import Command, identify, resident_bytes, spawn

SLEEPER = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(600)"]
# Leaves a child in its group and ends.
PARENT = f"import subprocess; p = subprocess.Popen({SLEEPER!r}, stdout=subprocess.DEVNULL); print(p.pid, flush=True)"


def gone(pid, started, within=60.0):
    deadline = time.monotonic() + within
    while watch.alive(pid, started):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)
    return True


@pytest.fixture
def sleeper(tmp_path):
    log = tmp_path / "log"
    popen = spawn(Command(SLEEPER), log)
    while "up" not in log.read_text():
        assert popen.poll() is None, log.read_text()
        time.sleep(0.01)
    yield popen
    popen.kill()
    popen.wait()


def test_a_process_is_itself_and_no_other(sleeper):
    process = identify(sleeper.pid)
    assert process.started > 0
    assert watch.alive(process.pid, process.started)
    assert not watch.alive(process.pid, process.started + 1)
    assert resident_bytes(process) > 1_000_000


def test_a_reused_number_is_left_alone(sleeper):
    process = identify(sleeper.pid)
    assert not watch.kill_group(process.pid, process.started + 1)
    assert sleeper.poll() is None


def test_a_group_is_killed_also_when_its_leader_has_gone(tmp_path):
    leader = subprocess.Popen(
        [sys.executable, "-S", "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    child = identify(int(leader.stdout.readline()))
    leader.stdout.close()
    started = identify(leader.pid).started
    leader.wait()
    assert watch.alive(child.pid, child.started)
    assert watch.kill_group(leader.pid, started)
    assert gone(child.pid, child.started)


def test_a_part_dies_with_the_one_that_started_it(tmp_path):
    log = tmp_path / "log"
    code = (
        "import sys, time; from pathlib import Path; from cli.stack.processes import Command, spawn;"
        f"p = spawn(Command({SLEEPER!r}), Path({str(log)!r})); print(p.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    part = identify(int(starter.stdout.readline()))
    while "up" not in log.read_text():
        time.sleep(0.01)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert gone(part.pid, part.started)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_part_under_another_user_dies_with_its_starter_too(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from cli.stack.processes import Command, spawn;"
        f"p = spawn(Command(['sleep', '600'], user='nobody'), Path({str(tmp_path / 'log')!r}));"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    part = identify(int(starter.stdout.readline()))
    deadline = time.monotonic() + 60
    while b"setpriv" in open(f"/proc/{part.pid}/cmdline", "rb").read():  # noqa: PTH123, SIM115
        assert time.monotonic() < deadline
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert gone(part.pid, part.started)


def test_nothing_of_the_callers_settings_reaches_a_part(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIALANE_API_PORT", "1")
    log = tmp_path / "log"
    assert spawn(Command(["env"], env={"MEDIALANE_X": "2"}), log).wait() == 0
    variables = [line for line in log.read_text().splitlines() if line.startswith("MEDIALANE_")]
    assert variables == ["MEDIALANE_X=2"]


def test_the_watcher_kills_what_the_state_names_when_its_pipe_breaks(sleeper, tmp_path):
    process = identify(sleeper.pid)
    state = tmp_path / "state.json"
    state.write_text(f'{{"parts": {{"it": {{"process": {{"pid": {process.pid}, "started": {process.started}}}}}}}}}')
    argv = [sys.executable, "-I", "-S", watch.__file__, str(state)]

    with subprocess.Popen(argv, stdin=subprocess.PIPE) as told:
        told.communicate(b"x")
    assert sleeper.poll() is None, "an orderly end kills nothing"

    with subprocess.Popen(argv, stdin=subprocess.PIPE) as broken:
        broken.communicate(b"")
    assert sleeper.wait(10) == -signal.SIGKILL


def test_late_timers_are_those_of_the_program_that_is_run_with_them():
    script = TEMPLATES / "late-timers.sh"
    ran = subprocess.run(["sh", script, "cat", "/proc/self/timerslack_ns"], capture_output=True, text=True, check=True)
    assert ran.stdout == "1000000\n"
    assert ran.stderr == ""
    assert subprocess.run(["sh", script, "sh", "-c", "exit 3"], check=False).returncode == 3
