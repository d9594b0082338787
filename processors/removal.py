"""Removing folders that a child could write to: a chain of a million folders may be in there, or one nobody may enter.

Nothing here recurses, follows a link, or raises. Folders in folders are moved up to the top first, so that a few
descriptors do for any depth, and no path is longer than a name.
"""

import contextlib
import itertools
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_S = 600.0  # should somebody go on filling it


def remove(path: Path) -> bool:
    """Remove a file, or a folder with all that is in it; False if something withstands. Nothing there is as good."""
    with contextlib.suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
        else:
            _emptied(path, most=None, most_bytes=None)
            path.rmdir()
    return not os.path.lexists(path)


def clear(folder: Path, *, most: int, most_bytes: int) -> bool:
    """Empty a folder if no more than this is in it; False if more is, or something withstands."""
    try:
        return _emptied(folder, most=most, most_bytes=most_bytes)
    except OSError:
        return False


def _emptied(folder: Path, *, most: int | None, most_bytes: int | None) -> bool:
    top = _entered(str(folder), None)
    try:
        return _Emptying(top, most, most_bytes).done()
    finally:
        os.close(top)


class _Emptying:
    """The work on one folder, given as a descriptor."""

    def __init__(self, top: int, most: int | None, most_bytes: int | None) -> None:
        self._top = top
        self._entries = most
        self._bytes = most_bytes
        self._until = time.monotonic() + _LONGEST_S
        chance = secrets.token_hex(8)  # nobody can have taken these names before
        self._names = (f".{chance}-{number}" for number in itertools.count())
        self._acts = 0

    def done(self) -> bool:
        """Remove all that can be; whether nothing is left."""
        while True:
            before = self._acts
            for entry in _entries(self._top):
                if not self._may(entry):
                    return False
                self._remove(entry.name, is_folder=entry.is_dir(follow_symlinks=False))
            if self._acts == before:  # what is moved up meanwhile may show in the next look only
                return not any(_entries(self._top))

    def _remove(self, name: str, *, is_folder: bool) -> None:
        with contextlib.suppress(OSError):
            if is_folder:
                self._take_apart(name)
                os.rmdir(name, dir_fd=self._top)
            else:
                os.unlink(name, dir_fd=self._top)
            self._acts += 1

    def _take_apart(self, name: str) -> None:
        folder = _entered(name, self._top)
        try:
            for entry in _entries(folder):
                if not self._may(entry):
                    return
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        os.close(_entered(entry.name, folder))  # without the right to write in it, it cannot be moved
                        os.rename(entry.name, next(self._names), src_dir_fd=folder, dst_dir_fd=self._top)
                    else:
                        os.unlink(entry.name, dir_fd=folder)
                    self._acts += 1
        finally:
            os.close(folder)

    def _may(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is within what may be removed."""
        if time.monotonic() > self._until:
            return False
        if self._entries is None or self._bytes is None:
            return True
        self._entries -= 1
        with contextlib.suppress(OSError):
            found = entry.stat(follow_symlinks=False)
            if found.st_nlink == 1:  # of another name's bytes nothing is freed
                self._bytes -= found.st_blocks * 512
        return self._entries >= 0 and self._bytes >= 0


def _entries(folder: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        yield from found


def _entered(name: str, within: int | None) -> int:
    """A descriptor of a folder, with every right to it if it is ours to give them."""
    found = os.open(name, os.O_PATH | _FOLDER, dir_fd=within)
    try:
        with contextlib.suppress(OSError):
            os.chmod(f"/proc/self/fd/{found}", 0o700)  # noqa: PTH101 - by a path, a link could be in its place by now
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=found)
    finally:
        os.close(found)
