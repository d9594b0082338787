"""`medialane demo` as a newcomer runs it: it ends well and leaves nothing, also when it is interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cli.stack import state
from cli.stack.layout import layout
from cli.stack.processes import alive
from schemas.profiles import profiles_for, stages_after
from schemas.states import Stage

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-P", "-m", "cli.main", "demo", "--dir"]


@pytest.fixture
def place():
    """A folder that Postgres' user may enter, with the stack's folder and build/ in it; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="medialane-demo-"))
    folder.chmod(0o755)
    yield folder
    files = layout(folder / "stack")
    if files.postgres_data != files.data("postgres"):
        shutil.rmtree(files.postgres_data.parent, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def left_running(folder):
    """The stack's processes that still live: by pid and start time, from its own state file."""
    found = state.load(layout(folder).state)
    assert found is not None
    processes = {"supervisor": found.supervisor} | {name: part.process for name, part in found.parts.items()}
    return [name for name, one in processes.items() if one is not None and alive(one.pid, one.started)]


def test_it_ends_well_with_its_last_line_and_stops_everything(place):
    env = {name: value for name, value in os.environ.items() if name != "KEEP"}
    ended = subprocess.run(
        [*COMMAND, str(place / "stack")], capture_output=True, text=True, cwd=place, env=env, timeout=500, check=False
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    last = ended.stdout.rstrip().splitlines()[-1]
    found = re.fullmatch(r"demo: 3 assets ready, (\d+) variants, (\d+) webhooks verified, [\d.]+ s", last)
    assert found is not None, last
    kinds = (Stage.IMAGE_PRIMARY, Stage.IMAGE_PRIMARY, Stage.VIDEO_PRIMARY)
    stages = [after for stage in kinds for after in (stage, *stages_after(stage))]
    variants = sum(len(profiles_for(stage)) for stage in stages)
    assert int(found[1]) == variants
    # Of each asset created, uploaded, ready; of each job starting, started, done; every variant; and progress, perhaps.
    assert int(found[2]) >= 3 * 3 + 3 * len(stages) + variants
    assert left_running(place / "stack") == []
    result = json.loads((place / "build" / "demo.json").read_bytes())
    assert result["ok"] is True
    assert result["held"] > 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started(place, number):
    # A shell's background job ignores SIGINT, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([*COMMAND, str(place / "stack")], stdout=subprocess.PIPE, text=True, cwd=place) as demo:
        for line in demo.stdout:
            if "postgres" in line.lower() and " s)" in line:
                demo.send_signal(number)
                break
        rest = demo.stdout.read()
        assert demo.wait(timeout=120) == (130 if number == signal.SIGINT else 143), rest
    assert left_running(place / "stack") == []
