"""Folders for files in work: one per job, under one per process, and the sweep of what dead processes left.

A process holds a file lock for as long as it lives, and the kernel lets go of it however the process ends. So "is the
owner alive?" has an exact answer, in containers too, where process ids repeat after every restart.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processors.contract import MediaError
from schemas.errors import ErrorCode

_LOCK = ".lock"
# Left free for everybody else on the disk.
_RESERVE_BYTES = 256 * 1024 * 1024


def sweep(root: Path) -> int:
    """Remove the folders under `root` whose owners are dead; returns how many. Those of the living are left alone."""
    swept = 0
    for lock in root.glob(f"*{_LOCK}"):
        held = _try_lock(lock)
        if held is None:
            continue
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(held)
        swept += 1
    return swept


class TempFolders:
    """One process's share of the temporary disk."""

    def __init__(self, root: Path) -> None:
        """`root` is made if needed; what dead owners left in it is removed at once."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.swept = sweep(root)
        self._own, self._held = _claim(root)

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self._own

    def ensure_room(self, needed_bytes: int) -> None:
        """Return if this much fits and leaves a reserve. Raises `MediaError` if not.

        `no_temp_space`, which costs no attempt; `processing_failed` if the disk could not hold it when empty.
        """
        disk = shutil.disk_usage(self._own)
        if disk.free >= needed_bytes + _RESERVE_BYTES:
            return
        detail = f"{needed_bytes} bytes are needed for temporary files, {disk.free} are free of {disk.total}."
        never = disk.total < needed_bytes + _RESERVE_BYTES
        raise MediaError(ErrorCode.PROCESSING_FAILED if never else ErrorCode.NO_TEMP_SPACE, detail)

    def problems(self) -> list[str]:
        """Why no job can be taken up."""
        try:
            self.ensure_room(0)
        except MediaError as error:
            return [f"the temporary folder is full: {error.detail}"]
        return []

    @contextmanager
    def job(self, name: str) -> Iterator[Path]:
        """A job's own folder, removed with all that is in it at the end. `name` only helps people who look."""
        safe = "".join(letter for letter in name if letter.isalnum() or letter in "-_")[:64]
        folder = Path(tempfile.mkdtemp(prefix=f"{safe}-", dir=self._own))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything of this process. Idempotent."""
        if self._held < 0:
            return
        shutil.rmtree(self._own, ignore_errors=True)
        self._own.with_name(self._own.name + _LOCK).unlink(missing_ok=True)
        os.close(self._held)
        self._held = -1


def _claim(root: Path) -> tuple[Path, int]:
    """A new folder and the descriptor of its lock, which comes first, so that no sweep finds a folder without."""
    while True:
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        held = _try_lock(root / f"{name}{_LOCK}", create=True)
        if held is not None:
            folder = root / name
            folder.mkdir(mode=0o700)
            return folder, held


def _try_lock(path: Path, *, create: bool = False) -> int | None:
    """A descriptor with the lock of this very file, or None if somebody else has it or it is gone."""
    try:
        held = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A sweep may have removed the file between open and lock; then the lock is of nothing.
        if os.fstat(held).st_nlink:
            return held
    except OSError:
        pass
    os.close(held)
    return None
