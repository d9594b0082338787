"""A stack's life: it stops in order, comes back with its data, and leaves no orphan whatever is killed.

Postgres and the S3 server stand for all parts: one runs as another user, the other as us. What is shown here of
processes does not depend on which program they run.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from cli.main import medialane
from cli.stack import Stack, StackError
from cli.stack.layout import layout
from cli.stack.processes import alive, identify

pytestmark = pytest.mark.stack
PARTS = ("postgres", "s3")
START = """
import sys, time
from pathlib import Path
from cli.stack import Stack
stack = Stack.start(Path(sys.argv[1]), parts=("postgres", "s3"))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def caller(folder):
    """Another program that has started a stack which is to die with it."""
    with subprocess.Popen([sys.executable, "-c", START, folder], stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stdout.readline() == "ready\n"
        yield popen
        popen.kill()


def everybody(folder: Path):
    """Every process of a stack: parts, supervisor, and the watcher that the supervisor started."""
    state = Stack(layout(folder)).state
    supervisor = state.supervisor
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    found = [supervisor, *(identify(int(child)) for child in children)]
    assert {part.process for part in state.parts.values()} <= set(found)
    assert len(found) == 2 + len(PARTS)
    return found


def assert_gone(processes, within=60.0):
    deadline = time.monotonic() + within
    while left := [process for process in processes if alive(process.pid, process.started)]:
        assert time.monotonic() < deadline, f"orphans: {left}"
        time.sleep(0.02)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)


def test_nothing_outlives_a_killed_caller(caller, folder):
    processes = everybody(folder)
    caller.kill()
    assert_gone(processes)


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_finds_the_data(caller, folder):
    stack = Stack.attach(folder)
    with psycopg.connect(stack.env["MEDIALANE_MIGRATION_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("INSERT INTO tenants VALUES ('00000000-0000-4000-8000-000000000001', 'kept')")
    processes = everybody(folder)
    kill(processes[0])
    assert_gone(processes)
    assert not stack.is_running
    # The number in the killed server's lock files may belong to its own zombie by now, or to another program.
    data = layout(folder).postgres_data
    locks = [data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")]
    assert len(locks) == 2
    as_server = ["setpriv", "--reuid", data.owner(), "--clear-groups", "--"] if os.geteuid() == 0 else []
    with subprocess.Popen([*as_server, "sleep", "600"]) as other:
        for lock in locks:
            lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:]]) + "\n")
        try:
            assert_starts_with_its_data(folder, stack)
        finally:
            other.kill()


def assert_starts_with_its_data(folder, stack):
    with Stack.start(folder, parts=PARTS) as again:
        assert again.state.secrets == stack.state.secrets
        with psycopg.connect(again.env["MEDIALANE_MIGRATION_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT slug FROM tenants").fetchall() == [("kept",)]


def test_nothing_outlives_supervisor_and_watcher_killed_together(caller, folder):
    processes = everybody(folder)
    parts = {part.process for part in Stack(layout(folder)).state.parts.values()}
    (watcher,) = [process for process in processes[1:] if process not in parts]
    kill(watcher)
    kill(processes[0])
    assert_gone(processes)


def test_parts_stop_in_good_order_and_a_killed_one_can_be_started_again(folder):
    with Stack.start(folder, parts=PARTS) as stack:
        before = everybody(folder)
        pid = stack.pid("s3")
        stack.kill("s3")
        views = {view.name: view for view in stack.status()}
        assert (views["s3"].state, views["s3"].ready, views["postgres"].ready) == ("exit -9", False, True)
        stack.start_part("s3")
        assert stack.pid("s3") != pid
        assert all(view.ready for view in stack.status())
        with pytest.raises(StackError, match="s3 already runs"):
            stack.start_part("s3")
        with pytest.raises(StackError, match=r"there is no part s4\. Medialane's processes: api"):
            stack.start_part("s4")
        processes = everybody(folder)
        with pytest.raises(StackError, match="a stack already runs in"):
            Stack.start(folder, parts=PARTS)
    assert_gone([*before, *processes], within=5)
    assert {part.exit_code for part in stack.state.parts.values()} <= {0, -9}  # the S3 server may need its SIGKILL
    assert stack.state.parts["postgres"].exit_code == 0


def test_who_comes_while_it_starts_waits_for_that_start(folder):
    with subprocess.Popen([sys.executable, "-c", START, folder], stdout=subprocess.PIPE, text=True) as first:
        stack = Stack(layout(folder))
        while not (stack.is_running and layout(folder).control.exists()):
            assert first.poll() is None
            time.sleep(0.01)
        assert not stack.state.ready
        stack.ensure(PARTS)
        assert first.stdout.readline() == "ready\n"
        assert {view.name: view.ready for view in stack.status()} == dict.fromkeys(PARTS, True)
        first.kill()


def test_commands_show_it_and_take_it_down(folder):
    run = CliRunner().invoke
    Stack.start(folder, parts=PARTS).detach()
    processes = everybody(folder)

    shown = run(medialane, ["stack", "status", "--dir", str(folder)])
    assert shown.exit_code == 0
    rows = [line.split("\t") for line in shown.output.splitlines()]
    assert rows[0] == ["part", "pid", "address", "state", "RSS MB", "ready"]
    assert {row[0]: (row[3], row[5]) for row in rows[1:]} == dict.fromkeys(PARTS, ("running", "yes"))
    assert all(int(row[4]) > 0 for row in rows[1:])

    up = ["stack", "up", "--only-infra", "--dir", str(folder)]
    port = Stack.attach(folder).state.ports["s3"]
    for options, refusal in (
        ([f"--port=s3={port + 1}"], rf"runs on other ports than s3={port + 1}\. Stop it first"),
        ([f"--port=s3={port}", "--foreground"], "runs already, and ends not with this command"),
        (["--brokers", "3"], "runs with another number of brokers"),
    ):
        with pytest.raises(StackError, match=refusal):
            run(medialane, [*up, *options], catch_exceptions=False)

    Stack.attach(folder).kill("s3")
    assert run(medialane, ["stack", "status", "--dir", str(folder)]).exit_code == 1

    logged = run(medialane, ["stack", "logs", "postgres", "--dir", str(folder)])
    assert "database system is ready to accept connections" in logged.output
    assert run(medialane, ["stack", "logs", "postgres", "-n", "1", "--dir", str(folder)]).output.count("\n") == 1
    assert run(medialane, ["stack", "logs", "postgres", "-n", "0", "--dir", str(folder)]).output == ""
    assert run(medialane, ["stack", "logs", "postgres", "-n", "-1", "--dir", str(folder)]).exit_code == 2
    with pytest.raises(StackError, match=r"there is no log of redis.*Logs: .*postgres"):
        run(medialane, ["stack", "logs", "redis", "--dir", str(folder)], catch_exceptions=False)

    assert run(medialane, ["stack", "down", "--purge", "--dir", str(folder)]).exit_code == 0
    assert_gone(processes, within=5)
    assert not folder.exists()
    assert "nothing runs" in run(medialane, ["stack", "down", "--dir", str(folder)]).output
