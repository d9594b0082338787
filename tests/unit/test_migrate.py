"""`medialane migrate` where no database is: a line, not a traceback."""

import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.migrate import migrate
from connectors.postgres.database import Database
from migrations import runner
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import DatabaseSettings, SettingsError


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_database_that_is_away_is_one_line(unused_tcp_port, options):
    url = f"postgresql://owner:secret@127.0.0.1:{unused_tcp_port}/name"
    env = os.environ | {"MEDIALANE_MIGRATION_DATABASE_URL": url}
    command = [sys.executable, "-m", "cli.main", "migrate", *options]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("medialane: database_unavailable: The database does not answer: ")
    assert ran.stderr.count("\n") == 1
    assert f"port {unused_tcp_port}" in ran.stderr
    assert "secret" not in ran.stderr


def test_what_never_says_a_word_is_a_database_that_is_away(monkeypatch):
    monkeypatch.setattr(runner, "_CONNECT_S", 2)  # the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://owner@127.0.0.1:{silent.getsockname()[1]}/name"
        ended = CliRunner().invoke(migrate, ["--database-url", url, "--dry-run"])
    assert isinstance(ended.exception, MedialaneError)
    assert ended.exception.code is ErrorCode.DATABASE_UNAVAILABLE


def test_an_option_that_libpq_does_not_know_is_a_wrong_setting():
    ended = CliRunner().invoke(migrate, ["--database-url", "postgresql://owner@127.0.0.1/name?ssl_mode=require"])
    assert isinstance(ended.exception, SettingsError)
    assert "MEDIALANE_MIGRATION_DATABASE_URL" in str(ended.exception)
    assert "ssl_mode" in str(ended.exception)
    with pytest.raises(SettingsError, match=r"MEDIALANE_DATABASE_URL.*ssl_mode"):
        Database(DatabaseSettings(url="postgresql://a@127.0.0.1/name?ssl_mode=require"), application="test")
