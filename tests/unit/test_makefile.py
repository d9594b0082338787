"""What `make clean` does before it deletes: it takes down each stack that was started here."""

import shutil
import subprocess
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def cleaned(folder, program):
    shutil.copy(MAKEFILE, folder)
    command = folder / ".venv" / "bin" / "medialane"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\n{program}\n")
    command.chmod(0o755)
    for name in ("default", "demo"):
        (folder / ".local" / "stack" / name).mkdir(parents=True)
        (folder / ".local" / "stack" / name / "state.json").touch()
    (folder / ".local" / "stack" / "empty").mkdir()
    return subprocess.run(["make", "clean"], cwd=folder, check=False, capture_output=True, text=True)


def test_every_stack_is_taken_down_with_its_data(tmp_path):
    assert cleaned(tmp_path, 'echo "$@" >> said').returncode == 0
    assert (tmp_path / "said").read_text().splitlines() == [
        f"stack down --purge --dir .local/stack/{name}" for name in ("default", "demo")
    ]
    assert not (tmp_path / ".local").exists()


def test_nothing_is_deleted_under_a_stack_that_did_not_stop(tmp_path):
    assert cleaned(tmp_path, "exit 1").returncode != 0
    assert (tmp_path / ".local" / "stack" / "demo").exists()
