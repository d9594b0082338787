"""What a child may leave in its cell goes, whatever it is; nothing outside is touched."""

import os
import tempfile
from pathlib import Path

import pytest
from support.folders import chain
from support.nobody import as_nobody

from processors.removal import clear, remove


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "cell"
    made.mkdir()
    return made


def test_a_chain_of_folders_goes(folder):
    chain(folder)
    assert remove(folder)
    assert not folder.exists()


def test_wide_and_deep_together_go(folder):
    for name in ("a", "b/c/d", "b/c/e", ".0/.1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("x")
    assert remove(folder)
    assert not folder.exists()


def test_a_folder_that_nobody_may_enter_goes():
    with tempfile.TemporaryDirectory() as name:  # not below the folder of pytest, which is closed to others
        folder = Path(name)
        folder.chmod(0o777)

        def run():
            inner = folder / "closed/inner"
            inner.mkdir(parents=True)
            (inner / "file").write_text("x")
            inner.chmod(0)
            inner.parent.chmod(0)
            return clear(folder, most=100, most_bytes=1 << 20), list(folder.iterdir())

        assert as_nobody(run) == (True, [])


def test_links_go_and_what_they_lead_to_stays(folder):
    other = folder.parent / "other"
    other.mkdir(mode=0o711)
    (other / "file").write_text("another's")
    (folder / "inner").mkdir()
    for name in ("link", "inner/link"):
        (folder / name).symlink_to(other)
    assert remove(folder)
    assert (other / "file").read_text() == "another's"
    assert other.stat().st_mode & 0o777 == 0o711
    folder.symlink_to(other)
    assert remove(folder)
    assert (other / "file").exists()


def test_what_is_not_there_is_removed(folder):
    assert remove(folder / "none/of/it")


def test_what_withstands_is_said(folder, monkeypatch):
    def refused(*_, **__):
        raise PermissionError

    (folder / "a/b").mkdir(parents=True)
    monkeypatch.setattr(os, "rmdir", refused)
    assert not remove(folder)
    assert not clear(folder, most=100, most_bytes=100)


@pytest.mark.parametrize(("most", "most_bytes"), [(4, 1 << 20), (100, 4096)])
def test_more_than_is_allowed_is_not_cleared(folder, most, most_bytes):
    (folder / "inner").mkdir()
    for number in range(3):
        (folder / "inner" / str(number)).write_bytes(b"x" * 4096)
    (folder / "source").hardlink_to(folder / "inner/0")
    assert not clear(folder, most=most, most_bytes=most_bytes)
    assert clear(folder, most=100, most_bytes=1 << 20)
    assert list(folder.iterdir()) == []
