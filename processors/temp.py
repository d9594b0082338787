"""Folders for files in work: one per job, under one per process, and the sweep of what dead processes left.

A process holds a file lock for as long as it lives, and the kernel lets go of it however the process ends. So "is the
owner alive?" has an exact answer, in containers too, where process ids repeat after every restart.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from processors.contract import MediaError
from processors.removal import remove
from schemas.errors import ErrorCode

log = structlog.get_logger(__name__)

_LOCK = ".lock"
_ASIDE = ".withstands"
# Left free for everybody else on the disk.
_RESERVE_BYTES = 256 * 1024 * 1024


def sweep(root: Path) -> int:
    """Remove the folders under `root` whose owners are dead; returns how many. Those of the living are left alone.

    What cannot be removed is set aside, for people, and keeps nobody from starting.
    """
    swept = 0
    for lock in root.glob(f"*{_LOCK}"):
        held = _try_lock(lock)
        if held is None:
            continue
        _end(lock, held)
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
        try:
            disk = shutil.disk_usage(self._own)
        except OSError as error:
            raise _unusable(error) from error
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
            return [f"there is no room in the temporary folder: {error.detail}"]
        return []

    @contextmanager
    def job(self, name: str) -> Iterator[Path]:
        """A job's own folder, removed with all that is in it at the end. `name` only helps people who look.

        Raises `MediaError` (`no_temp_space`) if it cannot be made.
        """
        folder = self._made(name)
        try:
            yield folder
        finally:
            remove(folder)

    @asynccontextmanager
    async def media_job(self, name: str) -> AsyncIterator[Path]:
        """The same, removed in a thread: a child that made files for it may have made millions.

        Who is cancelled meanwhile has done its work: it goes on without waiting, and nothing is raised.
        """
        folder = self._made(name)
        try:
            yield folder
        finally:
            removal = asyncio.ensure_future(asyncio.to_thread(remove, folder))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({removal})

    def close(self) -> None:
        """Remove everything of this process. Idempotent."""
        if self._held < 0:
            return
        _end(self._own.with_name(self._own.name + _LOCK), self._held)
        self._held = -1

    def _made(self, name: str) -> Path:
        safe = "".join(letter for letter in name if letter.isalnum() or letter in "-_")[:64]
        try:
            return Path(tempfile.mkdtemp(prefix=f"{safe}-", dir=self._own))
        except OSError as error:
            raise _unusable(error) from error


def _unusable(error: OSError) -> MediaError:
    """Whatever it is (no inode, no descriptor, a folder that somebody removed), it is no input's fault."""
    return MediaError(ErrorCode.NO_TEMP_SPACE, f"The temporary folder cannot be used: {error.strerror}.")


def _end(lock: Path, held: int) -> None:
    """Remove a lock's folder, or set it aside, and only then the lock, which is held by this descriptor."""
    folder = lock.with_suffix("")
    if not remove(folder):
        aside = folder.with_name(folder.name + _ASIDE)
        log.warning("a folder cannot be removed and is set aside", folder=str(aside))
        with contextlib.suppress(OSError):
            folder.rename(aside)
    lock.unlink(missing_ok=True)
    os.close(held)


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
