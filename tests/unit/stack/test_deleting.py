"""What deletes a stack's data: it deletes what a stack wrote, where one was, and nothing of anybody else's."""

import pytest
from click.testing import CliRunner

from cli.harness.running import begin_empty
from cli.main import medialane
from cli.stack import state
from cli.stack.errors import StackError
from cli.stack.layout import Layout


def stopped(folder):
    """A folder as a stopped stack leaves it."""
    files = Layout(folder)
    files.make()
    files.data("postgres").mkdir()
    files.lock.touch()
    state.save(files.state, state.StackState(secrets=state.Secrets.generate(), ports={}))
    return files


def purge(folder):
    return CliRunner().invoke(medialane, ["stack", "down", "--purge", "--dir", str(folder)])


def test_a_folder_that_never_was_a_stack_is_left_alone(tmp_path):
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    refused = purge(tmp_path)
    assert refused.exit_code == 2
    assert f"{tmp_path} is no stack's folder" in refused.output
    assert (tmp_path / "data" / "mine").exists()
    assert (tmp_path / "logs" / "mine").exists()


def test_a_stacks_folder_goes_and_a_second_time_is_no_error(tmp_path):
    files = stopped(tmp_path / "stack")
    assert purge(files.folder).exit_code == 0
    assert not files.folder.exists()
    assert purge(files.folder).exit_code == 0


def test_files_that_the_stack_did_not_write_stay(tmp_path):
    files = stopped(tmp_path)
    (tmp_path / "README.md").touch()
    assert purge(tmp_path).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert not files.is_stack


def test_data_on_another_disk_is_let_go_of_and_what_writing_left_goes_too(tmp_path):
    files = stopped(tmp_path / "stack")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "mine").touch()
    files.data("postgres").rmdir()
    (files.folder / "data").rmdir()
    (files.folder / "data").symlink_to(tmp_path / "disk")
    (files.folder / ".state.json.4711").touch()
    (files.folder / ".env.4711").touch()
    assert purge(files.folder).exit_code == 0
    assert not files.folder.exists()
    assert (tmp_path / "disk" / "mine").exists()


def test_data_that_cannot_be_deleted_are_a_stacks_still(tmp_path, monkeypatch):
    files = stopped(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cli.stack.layout.shutil.rmtree", lambda *_, **__: None)
        refused = purge(tmp_path)
    assert isinstance(refused.exception, StackError)
    assert refused.exception.cause == f"{tmp_path / 'data'} cannot be deleted"
    assert files.is_stack
    assert purge(tmp_path).exit_code == 0
    assert not files.is_stack


def test_a_program_begins_on_empty_data_in_its_own_folder_only(tmp_path):
    own, other = stopped(tmp_path / "own"), stopped(tmp_path / "other")
    begin_empty(own.folder, own=own.folder)
    assert not own.folder.exists()
    with pytest.raises(StackError, match=rf"holds the data of a stack.*stack down --purge --dir {other.folder}"):
        begin_empty(other.folder, own=own.folder)
    assert other.data("postgres").is_dir()


def test_a_folder_without_a_stack_may_be_begun_in(tmp_path):
    (tmp_path / "mine").touch()
    begin_empty(tmp_path, own=tmp_path / "own")
    assert (tmp_path / "mine").exists()
