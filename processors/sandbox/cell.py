"""A child's cell: the one folder that it may write to, and all that it can read beside code.

Landlock binds a process to folders for its whole life, while a warm child serves many jobs. So files come to the child:
the source as a second name of the same file, and what the child made is renamed into the job's folder, where the child
can no longer reach it, before anybody looks at it.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec

from processors.contract import MediaError, Rendition, Source
from processors.job import place_of
from processors.sandbox import limits
from schemas.errors import ErrorCode
from schemas.profiles import Profile

# No profile's file is called this: its extension is no format's.
_SOURCE = "source.bin"


class Cell:
    """One child's cell, which serves one job at a time."""

    def __init__(self, folder: Path) -> None:
        """Make it in `folder`, best on the disk of the jobs' folders: otherwise files are copied."""
        self.path = Path(tempfile.mkdtemp(prefix="cell-", dir=folder))

    def bring_in(self, source: Source) -> Source:
        """Give the source a name in the cell; returns it under that. Raises `MediaError`."""
        inside = self.path / _SOURCE
        try:
            _link(source.path, inside)
        except OSError as error:
            raise limits.os_failure(error) from error
        return msgspec.structs.replace(source, path=str(inside))

    def take_out(self, rendition: Rendition, profile: Profile, folder: Path) -> Rendition:
        """Move the finished rendition of a profile to a job's folder; returns it with its new path.

        The child read hostile bytes: nothing is taken from it but plain files. Raises `MediaError`.
        """
        made, moved = place_of(profile, self.path), place_of(profile, folder)
        if rendition.path != str(made):
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child put {profile.name} in a place of its own.")
        try:
            _move(*((made.parent, moved.parent) if profile.is_bundle else (made, moved)))
        except OSError as error:
            raise limits.os_failure(error) from error
        home = moved.parent
        files = [moved, *(home / part.name for part in rendition.parts)]
        if home.is_symlink() or not all(_is_plain(file, home) for file in files):
            raise MediaError(ErrorCode.PROCESSING_FAILED, f"What the child made as {profile.name} is no plain file.")
        return msgspec.structs.replace(rendition, path=str(moved))

    def clear(self) -> bool:
        """Remove what is in it; False if something withstands, and the next job should not meet it."""
        try:
            for entry in self.path.iterdir():
                _remove(entry)
            return not any(self.path.iterdir())
        except OSError:  # say, a folder whose rights were taken away
            return False

    def close(self) -> None:
        """Remove it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)


def _link(path: str, name: Path) -> None:
    # Of another user's file only root's privilege may open the door, and the child has none: it gets a copy.
    if Path(path).stat().st_uid == os.geteuid():
        with contextlib.suppress(OSError):  # on another disk it is copied, too
            os.link(path, name)
            return
    shutil.copyfile(path, name)


def _move(made: Path, target: Path) -> None:
    _remove(target)  # an earlier attempt's, if the caller kept the folder
    shutil.move(made, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_plain(file: Path, home: Path) -> bool:
    try:
        found = file.lstat()
    except OSError:
        return False
    # One name only: a second one could be that of a file that is not the child's.
    return file.parent == home and stat.S_ISREG(found.st_mode) and found.st_nlink == 1
