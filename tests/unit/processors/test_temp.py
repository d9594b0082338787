"""Temporary folders: the living keep theirs, the dead lose theirs, a full disk is said."""

import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from support.folders import chain

from processors import temp
from processors.contract import MediaError
from processors.removal import remove
from processors.temp import TempFolders, sweep
from schemas.errors import ErrorClass, ErrorCode

OWNER = """
import sys
from pathlib import Path
from processors.temp import TempFolders
folders = TempFolders(Path(sys.argv[1]))
context = folders.job("film")
(context.__enter__() / "half.mp4").write_bytes(b"x" * 1000)
print("there", flush=True)
sys.stdin.read()
"""


def test_a_job_folder_is_gone_with_all_that_is_in_it(tmp_path):
    folders = TempFolders(tmp_path)
    with folders.job("../../etc") as folder:
        assert tmp_path in folder.parents
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert not folder.exists()
    folders.close()
    folders.close()
    assert list(tmp_path.iterdir()) == []


def test_the_dead_are_swept_and_the_living_are_not(tmp_path):
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "there\n"
        assert sweep(tmp_path) == 0
        assert len(list(tmp_path.rglob("half.mp4"))) == 1
        owner.kill()
        owner.wait()
        folders = TempFolders(tmp_path)
    assert folders.swept == 1
    assert list(tmp_path.rglob("half.mp4")) == []
    folders.close()


def test_what_cannot_be_removed_is_set_aside_and_keeps_nobody_from_starting(tmp_path, monkeypatch):
    dead = TempFolders(tmp_path)
    (dead.folder / "half.mp4").write_text("x")
    os.close(dead._held)  # its process ended
    monkeypatch.setattr(temp, "remove", lambda _: False)
    folders = TempFolders(tmp_path)
    assert folders.swept == 1
    assert (tmp_path / f"{dead.folder.name}.withstands/half.mp4").exists()
    assert sweep(tmp_path) == 0, "it is nobody's any more"


def test_a_chain_of_folders_keeps_nobody_from_starting(tmp_path):
    dead = TempFolders(tmp_path)
    chain(dead.folder)
    os.close(dead._held)  # its process ended
    folders = TempFolders(tmp_path)
    assert folders.swept == 1
    assert not dead.folder.exists()
    folders.close()
    assert list(tmp_path.iterdir()) == []


async def test_what_a_child_made_for_a_job_is_removed_in_a_thread(tmp_path, monkeypatch):
    threads = []
    monkeypatch.setattr(temp, "remove", lambda path: threads.append(threading.current_thread()) or remove(path))
    folders = TempFolders(tmp_path)
    async with folders.media_job("film") as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()
    assert threads != [threading.main_thread()]
    assert len(threads) == 1
    folders.close()


def test_two_owners_do_not_sweep_each_other(tmp_path):
    first, second = TempFolders(tmp_path), TempFolders(tmp_path)
    with first.job("a") as one, second.job("a") as two:
        assert sweep(tmp_path) == 0
        assert one.exists()
        assert two.exists()
    first.close()
    second.close()


def test_a_full_disk_is_a_dependency_that_is_away(tmp_path, monkeypatch):
    folders = TempFolders(tmp_path)
    folders.ensure_room(1)
    assert folders.problems() == []
    total = shutil.disk_usage(tmp_path).total
    full = SimpleNamespace(total=total, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(MediaError) as caught:
        folders.ensure_room(1)
    assert caught.value.code is ErrorCode.NO_TEMP_SPACE
    assert caught.value.error_class is ErrorClass.DEPENDENCY
    assert len(folders.problems()) == 1
    folders.close()


def test_a_folder_that_somebody_removed_is_a_dependency_that_is_away(tmp_path):
    folders = TempFolders(tmp_path)
    folders.folder.rmdir()
    with pytest.raises(MediaError) as caught:
        folders.ensure_room(0)
    assert caught.value.code is ErrorCode.NO_TEMP_SPACE
    assert len(folders.problems()) == 1
    with pytest.raises(MediaError), folders.job("film"):
        pass
    folders.close()


def test_what_would_not_fit_an_empty_disk_is_no_outage(tmp_path):
    """It would wait for ever; so it costs attempts, of which another worker with a larger disk may make use."""
    folders = TempFolders(tmp_path)
    with pytest.raises(MediaError) as caught:
        folders.ensure_room(1 << 60)
    assert caught.value.error_class is ErrorClass.TRANSIENT
    folders.close()
