"""Which capabilities a process keeps: none, or root's one to read what lies behind another user's closed door."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import subprocess, sys
from pathlib import Path
from processors.sandbox.privileges import drop_capabilities

print(drop_capabilities(map(Path, sys.argv[1:])))
print(subprocess.check_output(["cat", "/proc/self/status"], text=True))
"""


NAMESPACE = ["unshare", "--user", "--keep-caps"]


def left(*needed, inside=()):
    """What it says, and what a program that it starts afterwards could use."""
    argv = [*inside, sys.executable, "-c", CODE, *map(str, needed)]
    said, *status = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    effective = next(line for line in status if line.startswith("CapEff:"))
    return said == "True", int(effective.split()[1], 16)


@pytest.fixture
def closed(tmp_path):
    """A folder in another user's home, which is closed."""
    home = tmp_path / "home"
    made = home / "checkout"
    made.mkdir(parents=True)
    os.chown(home, 65534, 65534)
    home.chmod(0o700)
    return made


def test_nothing_is_left(tmp_path):
    assert left(tmp_path, Path("/nowhere")) == (True, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets through other users' doors")
def test_what_leads_to_the_code_is_left_and_said(closed):
    assert left(closed) == (False, 1 << 2)


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode != 0,
    reason="needs another user's folder and a namespace of users",
)
def test_what_leads_nowhere_is_not_left(closed):
    assert left(closed, inside=NAMESPACE) == (True, 0)
