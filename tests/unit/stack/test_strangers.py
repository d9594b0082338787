"""`medialane stack up` in a folder of somebody else says so in a line, as every other command does."""

import pytest
from support.nobody import as_nobody

from cli.stack import StackError, state
from cli.stack.commands import stack as command
from cli.stack.layout import layout


@pytest.fixture
def files(open_folder):
    """The files of somebody else's stack."""
    found = layout(open_folder / "theirs")
    found.make()
    for folder in (found.folder, found.logs):
        folder.chmod(0o555)
    yield found
    for folder in (found.folder, found.logs):
        folder.chmod(0o755)


def complaint_of_nobody(files):
    def up():
        try:
            command.main(["up", "--dir", str(files.folder)], standalone_mode=False)
        except StackError as error:
            return str(error)
        return "no complaint"

    return as_nobody(up)


def test_a_folder_of_somebody_else_is_named_with_its_owner(files):
    assert complaint_of_nobody(files).startswith(f"{files.folder} belongs to {files.folder.owner()}. Use another")


def test_a_state_that_is_not_ours_to_read_is_not_taken_for_none(files):
    files.folder.chmod(0o777)
    state.save(files.state, state.StackState(secrets=state.Secrets.generate(), ports={}))
    files.state.chmod(0o000)
    assert complaint_of_nobody(files).startswith(f"{files.state} belongs to somebody else")


def test_a_log_that_cannot_be_written_is_said_before_anything_starts(files):
    files.folder.chmod(0o777)
    assert complaint_of_nobody(files).startswith(f"{files.log('supervisor')} cannot be made: Permission denied")
