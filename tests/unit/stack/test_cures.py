"""What is said to do about a stack is said of that stack: a cure that is typed as it stands acts on no other."""

import sys

import pytest

from cli.stack import Stack, StackError, control, ports, state
from cli.stack.commands import stack as command
from cli.stack.layout import layout, program
from cli.stack.leftovers import take_lock


@pytest.fixture
def files(tmp_path):
    made = layout(tmp_path / "a stack's")
    made.make()
    return made


def cure(act):
    with pytest.raises(StackError) as refused:
        act()
    return refused.value.cure


def test_commands_of_cures_name_the_folder_as_a_shell_takes_it(files, tmp_path):
    words = f"--dir '{tmp_path}/a stack'\"'\"'s'"
    with take_lock(files):
        assert cure(lambda: take_lock(files)) == f"Use it, or stop it: {program()} stack down {words}"
    for act in (
        lambda: Stack.attach(files.folder),
        lambda: Stack(files).state,
        lambda: control.call(files.control, control.Request(op="ready")),
    ):
        assert cure(act) == f"Start one: {program()} stack up {words}"


def test_a_command_is_one_that_runs_from_where_the_user_is(tmp_path, monkeypatch):
    own = tmp_path / "clone/.venv/bin/medialane"
    own.parent.mkdir(parents=True)
    own.touch(mode=0o755)
    another = tmp_path / "elsewhere/medialane"
    another.parent.mkdir()
    another.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(own.with_name("python")))
    for folder, on_path, said in (
        (tmp_path / "clone", "/nowhere", ".venv/bin/medialane"),
        (tmp_path / "elsewhere", "/nowhere", str(own)),
        (tmp_path / "clone", str(own.parent), "medialane"),
        (tmp_path / "clone", str(another.parent), ".venv/bin/medialane"),
    ):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", on_path)
        assert program() == said
    own.unlink()
    assert program() == "medialane"


def test_another_number_of_brokers_is_cured_by_what_deletes_this_stack():
    remembered = ports.assign({}, {}, ports.Claims())
    with pytest.raises(StackError, match=r"delete its data: medialane stack down --purge --dir x$"):
        ports.assign(remembered, {}, ports.Claims(), brokers=3, purge="medialane stack down --purge --dir x")


def test_a_stack_that_runs_otherwise_is_stopped_by_its_own_folder(files, monkeypatch):
    monkeypatch.setattr(Stack, "is_running", True)
    state.save(files.state, state.StackState(secrets=state.Secrets.generate(), ports={"kafka": 1, "api": 2}))
    for arguments in (["--brokers", "3"], ["--port", "api=3"], ["--foreground"]):
        said = cure(
            lambda arguments=arguments: command.main(
                ["up", "--dir", str(files.folder), *arguments], standalone_mode=False
            )
        )
        assert said == f"Stop it first: {files.command('down')}"
