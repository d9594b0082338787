"""`medialane migrate` where no database is: a line, not a traceback."""

import os
import subprocess
import sys

import pytest


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
