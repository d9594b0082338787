"""The `medialane` command: quick to list, each subcommand found where the table says, errors in one line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import psycopg
import pytest
import structlog
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from cli import main
from cli.stack.errors import StackError
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import SettingsError


def test_help_lists_every_command_and_imports_none_of_them():
    code = (
        "import sys; from click.testing import CliRunner; from cli.main import COMMANDS, medialane;"
        "said = CliRunner().invoke(medialane, ['--help']).output;"
        "assert all(name in said for name in COMMANDS), said;"
        "slow = {'psycopg', 'sqlalchemy', 'aiohttp', 'faust', 'litestar', 'boto3', 'rich'} & set(sys.modules);"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_list_of_commands_has_whole_sentences():
    named = {name: main.medialane.get_command(None, name) for name in main.COMMANDS}
    groups = {name: command for name, command in named.items() if isinstance(command, click.Group)}
    assert len(groups) > 10
    for name, group in groups.items():
        text = CliRunner().invoke(group, ["--help"], env={"COLUMNS": "80"}).output.split("Commands:")[1]
        assert set(group.commands) <= set(text.split()), name
        assert not any(line.endswith("...") for line in text.splitlines()), name


def test_who_looks_after_dead_letters_waits_for_no_consumer_to_be_loaded():
    code = "import sys; import cli.dlq; assert 'faust' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_is_where_the_table_says(name):
    command = main.medialane.get_command(click.Context(main.medialane), name)
    assert command.name == name
    assert CliRunner().invoke(main.medialane, [name, "--help"]).exit_code == 0


def test_what_is_logged_does_not_stand_among_what_is_printed(monkeypatch, capfd):
    @click.command()
    def talks():
        structlog.get_logger().warning("by the way")
        click.echo("{}")

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: talks)
    structlog.reset_defaults()  # another test may have run a process's
    main.medialane.main(["talks"], standalone_mode=False)
    out, err = capfd.readouterr()
    assert out == "{}\n"
    assert "by the way" in err


def test_an_unknown_command_is_a_usage_error():
    assert CliRunner().invoke(main.medialane, ["stak"]).exit_code == 2


def ended_with(error, monkeypatch):
    """The exit code of a command that raises this."""

    def fail():
        raise error

    monkeypatch.setattr(main.medialane, "main", lambda **_: fail())
    with pytest.raises(SystemExit) as ended:
        main.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code"), [(SettingsError(["MEDIALANE_X is not set"]), 2), (StackError("cause", "Cure"), 1)]
)
def test_expected_errors_are_one_line_and_an_exit_code(error, code, monkeypatch, capsys):
    assert ended_with(error, monkeypatch) == code
    assert capsys.readouterr().err == f"medialane: {error}\n"


def _unanswered():
    error = MedialaneError(ErrorCode.DATABASE_UNAVAILABLE, "The database does not answer.")
    driver = psycopg.OperationalError("connection failed: FATAL:  no such user\nand more")
    error.__cause__ = OperationalError(None, None, driver)
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (_unanswered(), 1,
         "database_unavailable: The database does not answer: connection failed: FATAL:  no such user"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/x"), 1, "/dev/null/x: Not a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), 2,
         "what was typed is no text in UTF-8"),
    ],
)  # fmt: skip
def test_what_people_can_act_on_is_said_with_its_reason(error, code, said, monkeypatch, capsys):
    assert ended_with(error, monkeypatch) == code
    assert capsys.readouterr().err == f"medialane: {said}\n"


@pytest.mark.parametrize("typed", [b"acme\xff", b"\xff"])
def test_a_name_that_is_no_text_is_told_as_such(typed, tmp_path):
    env = {**os.environ, "MEDIALANE_KAFKA_BROKERS": "127.0.0.1:1"}
    topics = os.fsencode(tmp_path) + b"/" + typed
    Path(os.fsdecode(topics)).write_bytes(b"")
    command = [sys.executable, "-m", "cli.main", "topics", "plan", "--file", topics]
    ended = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1), ended.stderr
    assert b"\\udcff: not declared" in ended.stderr


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(main.medialane, "main", lambda **_: fail())
    with pytest.raises(ZeroDivisionError):
        main.main()
