"""The `medialane` command: quick to list, each subcommand found where the table says, errors in one line."""

import subprocess
import sys

import click
import pytest
import structlog
from click.testing import CliRunner

from cli import main
from cli.stack.errors import StackError
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


@pytest.mark.parametrize(
    ("error", "code"), [(SettingsError(["MEDIALANE_X is not set"]), 2), (StackError("cause", "Cure"), 1)]
)
def test_expected_errors_are_one_line_and_an_exit_code(error, code, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr(main.medialane, "main", lambda **_: fail())
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert capsys.readouterr().err == f"medialane: {error}\n"


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(main.medialane, "main", lambda **_: fail())
    with pytest.raises(ZeroDivisionError):
        main.main()
