"""Where things are: the files of one stack's folder, and the programs that it runs."""

import contextlib
import hashlib
import os
import pwd
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cli.stack.errors import StackError

SOURCE = Path(__file__).resolve().parents[2]
TEMPLATES = SOURCE / "deploy" / "local"
DEFAULT_FOLDER = Path(".local/stack/default")
POSTGRES_USER = "postgres"


def jars() -> Path:
    """The folder that bootstrap fills with jars: `libs/` and `plugins/debezium/`."""
    chosen = os.environ.get("MEDIALANE_STACK_JARS")
    return Path(chosen) if chosen else SOURCE / ".local" / "jars"


def program() -> str:
    """What to type for `medialane` from where the user is: its path, unless PATH leads to this one."""
    own, found = Path(sys.executable).with_name("medialane"), shutil.which("medialane")
    if not own.exists() or (found is not None and Path(found).samefile(own)):
        return "medialane"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


@dataclass(frozen=True)
class Layout:
    """The files of a stack. Everything that it writes is under `folder` (but see `postgres_data`)."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def env(self) -> Path:
        return self.folder / "env"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def control(self) -> Path:
        return self.folder / "control.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def temp(self) -> Path:
        return self.folder / "tmp"

    def data(self, part: str) -> Path:
        """A part's own data folder."""
        return self.folder / "data" / part

    def log(self, part: str) -> Path:
        """A part's log file."""
        return self.logs / f"{part}.log"

    @cached_property
    def postgres_data(self) -> Path:
        """Postgres' data folder.

        Postgres refuses to run as root, so for root it runs as its own user; where that user may not enter this
        stack's folder (a clone under /root), the data lives under /var/lib/medialane instead.
        """
        if os.geteuid() != 0 or _may_enter(self.folder, POSTGRES_USER):
            return self.data("postgres")
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path("/var/lib/medialane") / name / "postgres"

    def command(self, words: str) -> str:
        """What to type to do something with this stack: `up`, `down --purge`."""
        return f"{program()} stack {words} --dir {shlex.quote(str(self.folder))}"

    @property
    def is_stack(self) -> bool:
        """Whether a stack was ever started here, and not deleted since."""
        return self.state.is_file()

    def delete(self) -> None:
        """Delete everything that the stack ever wrote; it must not run. Other files stay, and the folder with them.

        Of what is a symbolic link only the link goes. Raises `StackError` if something withstands: it is a stack still.
        """
        elsewhere = () if self.postgres_data.is_relative_to(self.folder) else (self.postgres_data.parent,)
        for folder in (*elsewhere, *self._folders):
            if folder.is_symlink():
                folder.unlink()
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                raise StackError(f"{folder} cannot be deleted", "Look who owns it, and try again")
        halves = (half for file in (self.env, self.state) for half in self.folder.glob(f".{file.name}.[0-9]*"))
        for file in (*halves, self.control, self.lock, self.env, self.state):  # what tells a stack's folder goes last
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.folder, *self._folders):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def _folders(self) -> tuple[Path, ...]:
        return self.folder / "data", self.logs, self.config, self.temp


def layout(folder: Path | None) -> Layout:
    """The layout of a stack's folder, made absolute; the default one if None."""
    return Layout((folder or DEFAULT_FOLDER).absolute())


def _may_enter(folder: Path, user: str) -> bool:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return True  # the preflight says that Postgres is missing, which is the better message
    for parent in folder.absolute().parents:
        try:
            info = parent.stat()
        except FileNotFoundError:
            continue  # made by us, open to all
        if info.st_uid == account.pw_uid:
            allowed = info.st_mode & stat.S_IXUSR
        elif info.st_gid == account.pw_gid:
            allowed = info.st_mode & stat.S_IXGRP
        else:
            allowed = info.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True
