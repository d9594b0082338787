"""A child's cell: the one folder that it may write to, and all that it can read beside code.

Landlock binds a process to folders for its whole life, while a warm child serves many jobs. So files come to the child:
the source as a second name of the same file, and what the child made is renamed into the job's folder, where the child
can no longer reach it, before anybody looks at it.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from processors.contract import MediaError, Rendition, Source
from processors.job import place_of
from processors.removal import clear, remove
from processors.sandbox import limits
from schemas.errors import ErrorCode
from schemas.profiles import Profile

# No profile's file is called this: its extension is no format's.
_SOURCE = "source.bin"
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # here; a copy will do
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
# Removed while the event loop waits: a larger cell goes with its child, and in a thread.
_MOST_LEFT, _MOST_BYTES_LEFT = 1000, 1 << 30


class Cell:
    """One child's cell, which serves one job at a time."""

    def __init__(self, folder: Path) -> None:
        """Make it in `folder`, best on the disk of the jobs' folders: otherwise files are copied."""
        self.path = Path(tempfile.mkdtemp(prefix="cell-", dir=folder))

    def bring_in(self, source: Source) -> Source:
        """Give the source a name in the cell; returns it under that. Raises `MediaError`."""
        inside = self.path / _SOURCE
        try:
            _link(Path(source.path), inside)
        except FileExistsError as error:
            raise MediaError(ErrorCode.PROCESSING_FAILED, "The child put something in the source's place.") from error
        except OSError as error:
            raise limits.os_failure(error) from error
        return msgspec.structs.replace(source, path=str(inside))

    def take_out(self, rendition: Rendition, profile: Profile, folder: Path) -> Rendition:
        """Move the finished rendition of a profile to a job's folder; returns it with its new path and true sizes.

        The child read hostile bytes: nothing is taken from it but plain files. Raises `MediaError`.
        """
        made, moved = place_of(profile, self.path), place_of(profile, folder)
        if rendition.path != str(made):
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child put {profile.name} in a place of its own.")
        home = moved.parent
        files = [moved, *(home / part.name for part in rendition.parts)]
        if any(file.parent != home for file in files):
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child put parts of {profile.name} elsewhere.")
        try:
            if profile.is_bundle:
                _move(made.parent, home, [file.name for file in files])
            else:
                _move(made, moved)
        except OSError as error:
            raise limits.os_failure(error) from error
        size, *others = map(_size_if_plain, files)
        if home.is_symlink() or size is None or None in others:
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"What the child made as {profile.name} is no plain file.")
        parts = tuple(
            msgspec.structs.replace(part, size=other or 0) for part, other in zip(rendition.parts, others, strict=True)
        )
        return msgspec.structs.replace(rendition, path=str(moved), size=size, parts=parts)

    def clear(self) -> bool:
        """Remove what a job leaves in it; False if there is more, or some of it withstands: no job is to meet it."""
        return clear(self.path, most=_MOST_LEFT, most_bytes=_MOST_BYTES_LEFT)

    def close(self) -> None:
        """Remove it. Idempotent; may take long, as a child decides what is in there."""
        remove(self.path)


def _link(source: Path, name: Path) -> None:
    # Of another user's file only root's privilege may open the door, and the child has none: it gets a copy.
    if source.stat().st_uid == os.geteuid():
        try:
            os.link(source, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
    _copy(source, name)


def _move(made: Path, target: Path, names: Iterable[str] | None = None) -> None:
    """Move a file, or a folder of the files `names`."""
    remove(target)  # an earlier attempt's, if the caller kept the folder
    try:
        made.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if names is None:
            _copy(made, target)
        else:
            target.mkdir()
            folder = os.open(made, os.O_DIRECTORY | _SAFELY)
            try:
                for name in names:
                    _copy(Path(name), target / name, folder)
            finally:
                os.close(folder)
        remove(made)


def _copy(made: Path, name: Path, folder: int | None = None) -> None:
    """Copy a plain file to a name that nothing has. Whatever a child puts in the way, no link is followed."""
    with open(os.open(made, os.O_RDONLY | _SAFELY, dir_fd=folder), "rb") as whole:  # noqa: PTH123 - flags
        if not stat.S_ISREG(os.fstat(whole.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no plain file")
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600), "wb") as copy:  # noqa: PTH123
            shutil.copyfileobj(whole, copy, _CHUNK)


def _size_if_plain(file: Path) -> int | None:
    try:
        found = file.lstat()
    except OSError:
        return None
    # One name only: a second one could be that of a file that is not the child's.
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None
