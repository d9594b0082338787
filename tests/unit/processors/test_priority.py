"""Who stands back gets less of a CPU that others want, also from processes of other sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processors.sandbox.priority import stand_back

SPIN = "while True: pass"
# Spins for one second of its own CPU time.
SPIN_A_SECOND = "import time\nwhile time.process_time() < 1: pass"


def on_last_core(source):
    process = subprocess.Popen([sys.executable, "-S", "-c", source], start_new_session=True)
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    return process


def cpu_ticks(pid):
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


@pytest.fixture
def spinner():
    process = on_last_core(SPIN)
    yield process
    process.kill()
    process.wait()


def test_a_process_that_stands_back_leaves_its_core_to_others(spinner):
    stand_back(spinner.pid, 15)
    before = cpu_ticks(spinner.pid)
    assert on_last_core(SPIN_A_SECOND).wait(60) == 0
    taken_s = (cpu_ticks(spinner.pid) - before) / os.sysconf("SC_CLK_TCK")
    assert taken_s < 0.5, "less than half of what the other one got of the same core meanwhile"


def test_nobody_comes_forward_by_it(spinner):
    os.setpriority(os.PRIO_PROCESS, spinner.pid, 12)
    stand_back(spinner.pid, 5)
    assert os.getpriority(os.PRIO_PROCESS, spinner.pid) == 12


def test_a_kernel_without_autogroups_is_no_failure(spinner, monkeypatch):
    monkeypatch.setattr("processors.sandbox.priority.Path", lambda _: Path("/nowhere/autogroup"))
    stand_back(spinner.pid, 5)
    assert os.getpriority(os.PRIO_PROCESS, spinner.pid) == 5


def test_a_kernel_that_takes_one_such_write_at_a_time_is_asked_again(spinner, monkeypatch):
    answers = [BlockingIOError(), BlockingIOError(), None]
    written = []

    class Autogroup:
        def write_text(self, text, encoding):
            answer = answers.pop(0)
            if answer is not None:
                raise answer
            written.append(text)

    monkeypatch.setattr("processors.sandbox.priority.Path", lambda _: Autogroup())
    stand_back(spinner.pid, 5)
    assert written == ["5"]
