"""Fixtures of the upgrade tests: the whole stack alone, and the release before this one, as it was."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from support import e2e

from cli.harness.samples import find_samples

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def yesterday(tmp_path_factory):
    """The folder with the code of the release before, taken from the repository's history."""
    commit = (HERE / "release-before").read_text().strip()
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=False)
    assert archive.returncode == 0, (
        f"the release before, commit {commit}, is not in this clone's history: fetch all of it "
        f"(git fetch --unshallow), or correct {HERE / 'release-before'}: {archive.stderr.decode()}"
    )
    folder = tmp_path_factory.mktemp("yesterday")
    folder.chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def e2e_stack(controller):
    return e2e.whole_stack(controller)


@pytest.fixture
def alone(e2e_stack):
    """The stack for this test only."""
    with e2e.turn(e2e_stack, alone=True):
        yield e2e_stack


@pytest.fixture(scope="session")
def samples():
    return find_samples()
