"""deploy/container/make-env.sh: a secret is made once, and never lost by running it again."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import compose as c

EXAMPLE = c.dotenv((c.ROOT / ".env.example").read_text(encoding="utf-8"))
SECRETS = {name for name, value in EXAMPLE.items() if value == ""}


@pytest.fixture(params=[shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)])
def shell(request: pytest.FixtureRequest) -> list[str]:
    """What `sh` is on some system."""
    return ["busybox", "sh"] if request.param == "busybox" else [request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A checkout with what the script needs, and no .env."""
    for name in ("deploy/container/make-env.sh", ".env.example"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(c.ROOT / name, tmp_path / name)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def make(shell: list[str], folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE} | options
    command = [*shell, str(folder / "deploy/container/make-env.sh")]
    return subprocess.run(command, check=False, cwd="/", stderr=subprocess.PIPE, text=True, **options)


def text(folder: Path) -> str:
    return (folder / ".env").read_text(encoding="utf-8")


def test_a_fresh_one_is_the_example_with_secrets_and_for_its_owner_only(shell: list[str], folder: Path) -> None:
    made = make(shell, folder)
    assert (made.returncode, made.stderr) == (0, "")
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    found = c.dotenv(text(folder))
    assert found.keys() == EXAMPLE.keys()
    assert {name: value for name, value in found.items() if name not in SECRETS} == {
        name: value for name, value in EXAMPLE.items() if name not in SECRETS
    }
    assert len({found[name] for name in SECRETS} - {""}) == len(SECRETS)
    assert len(text(folder).splitlines()) == len((folder / ".env.example").read_text(encoding="utf-8").splitlines())
    assert set(made.stdout.split(":", 1)[1].split()) == SECRETS
    assert not any(found[name] in made.stdout for name in SECRETS)


def test_again_it_changes_nothing(shell: list[str], folder: Path) -> None:
    make(shell, folder)
    before = text(folder)
    made = make(shell, folder)
    assert (made.returncode, made.stdout) == (0, ".env has every secret: nothing was added\n")
    assert text(folder) == before


@pytest.mark.parametrize("kept", ["S3_SECRET_KEY=\n", 'S3_SECRET_KEY=""  # to come\n', "# S3_SECRET_KEY=old\n", ""])
@pytest.mark.parametrize("end", ["API_PORT=1\n", "API_PORT=1"])
def test_what_an_older_one_lacks_is_added_and_nothing_else(shell: list[str], folder: Path, kept: str, end: str) -> None:
    others = sorted(SECRETS - {"S3_SECRET_KEY", "GRAFANA_PASSWORD"})
    old = "".join(f"{name}=mine-{name}\n" for name in others) + f"export GRAFANA_PASSWORD = 'a b'\n{kept}{end}"
    (folder / ".env").write_text(old, encoding="utf-8")
    made = make(shell, folder)
    assert (made.returncode, made.stdout) == (0, "added to .env: S3_SECRET_KEY\n")
    assert text(folder).startswith(old)
    (added,) = text(folder)[len(old) :].split()
    assert len(added) > len("S3_SECRET_KEY=") + 32
    assert make(shell, folder).stdout == ".env has every secret: nothing was added\n"


def test_into_a_file_it_says_nothing_secret(shell: list[str], folder: Path) -> None:
    with (folder / "other").open("w") as other:
        made = make(shell, folder, stdout=other)
    assert made.returncode == 1
    assert "without `>`" in made.stderr
    assert (folder / "other").read_text() == ""
    assert not (folder / ".env").exists()


def test_one_that_the_shell_has_emptied_gets_no_new_secrets_by_accident(shell: list[str], folder: Path) -> None:
    with (folder / ".env").open("w") as emptied:
        first = make(shell, folder, stdout=emptied)
    second = make(shell, folder)
    assert (first.returncode, second.returncode, text(folder)) == (1, 1, "")
    assert "take it from a backup" in first.stderr == second.stderr
