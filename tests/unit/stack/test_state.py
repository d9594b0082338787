"""The state file: readable by its owner only, replaced in one step, and clear about what is wrong with it."""

import stat
import subprocess

import pytest

from cli.stack import state
from cli.stack.environment import process_variables, variables, write_env_file
from cli.stack.errors import StackError
from cli.stack.layout import Layout
from cli.stack.names import PROCESSES
from cli.stack.ports import Claims, assign
from schemas.settings import PROCESSES as READS
from schemas.settings import load


@pytest.fixture
def files(tmp_path):
    made = Layout(tmp_path)
    made.make()
    return made


def test_what_is_saved_is_loaded_and_nobody_else_can_read_it(files):
    saved = state.StackState(secrets=state.Secrets.generate(), ports={"api": 1}, boot=state.boot_id())
    state.save(files.state, saved)
    assert state.load(files.state) == saved
    assert stat.S_IMODE(files.state.stat().st_mode) == 0o600
    assert [path.name for path in files.folder.iterdir() if path.is_file()] == ["state.json"]


def test_no_file_is_no_state_and_a_damaged_one_says_so(files):
    assert state.load(files.state) is None
    files.state.write_text('{"ports": 3}')
    with pytest.raises(StackError, match=r"state\.json is damaged .*Delete that stack's folder"):
        state.load(files.state)


def test_secrets_differ_from_stack_to_stack():
    first, second = state.Secrets.generate(), state.Secrets.generate()
    assert all(getattr(first, name) != getattr(second, name) for name in first.__struct_fields__)


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_gets_every_variable_that_it_requires(files, name):
    env = process_variables(name, assign({}, {}, Claims()), state.Secrets.generate(), files)
    for group in READS[name]:
        load(group, env)


def test_overrides_win_and_a_second_worker_listens_elsewhere(files):
    ports, secrets = assign({}, {}, Claims()), state.Secrets.generate()
    env = process_variables("keeper@2", ports, secrets, files, {"MEDIALANE_KEEPER_BATCH": "3"})
    assert env["MEDIALANE_KEEPER_BATCH"] == "3"
    assert env["MEDIALANE_TELEMETRY_METRICS_PORT"] == "0"


def test_a_shell_that_sources_the_env_file_gets_the_variables(files):
    ports, secrets = assign({}, {}, Claims()), state.Secrets.generate()
    write_env_file(files, ports, secrets)
    assert stat.S_IMODE(files.env.stat().st_mode) == 0o600
    shell = subprocess.run(["sh", "-c", f". {files.env}; env"], capture_output=True, text=True, check=True)
    expected = variables(ports, secrets, files)
    assert expected.items() <= dict(line.split("=", 1) for line in shell.stdout.splitlines()).items()
