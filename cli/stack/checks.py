"""What must be true before a part starts: cause first, then cure. What its log says when it did not: diagnosis.py."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from cli.stack.errors import StackError
from cli.stack.layout import POSTGRES_USER, Layout, jars

MIN_FREE_DISK_MB = 1024
MIN_FREE_MEMORY_MB = 1400
_MB = 1024 * 1024
_POSTGRES, _POSTGRES_VERSION = Path("/usr/lib/postgresql"), 15
BOOTSTRAP = "Run deploy/local/bootstrap.sh (make does), which installs what is missing"


def preflight(layout: Layout) -> None:
    """Raise `StackError` for the first thing that would keep a stack from starting."""
    java()
    weed()
    postgres_programs()
    for disk in (layout.folder, layout.postgres_data.parent):  # the database may lie elsewhere
        check_disk(disk)
    check_owner(layout.folder)
    check_owner(layout.data("postgres").parent)
    check_memory()


def check_disk(folder: Path, *, needed_mb: int = MIN_FREE_DISK_MB) -> None:
    """Enough room for write-ahead logs and uploads."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free // _MB
    if free < needed_mb:
        raise StackError(
            f"the disk of {there} is full: {free} MB free, {needed_mb} MB needed",
            "Free some space, or choose a folder on another disk with --dir",
        )


def check_memory(*, needed_mb: int = MIN_FREE_MEMORY_MB, source: Path = Path("/proc/meminfo")) -> None:
    """Enough memory for two Java virtual machines and the rest; nothing is said where the kernel does not tell."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", source.read_text(encoding="ascii"))
    except OSError:
        return
    free = int(found[1]) // 1024 if found else needed_mb
    if free < needed_mb:
        raise StackError(f"not enough memory: {free} MB available, {needed_mb} MB needed", "Stop other programs")


def check_owner(folder: Path) -> None:
    """The folder, if it is there, must be ours to write."""
    cure = "Use another folder with --dir, or run as that user"
    try:
        owner_id = folder.stat().st_uid
    except FileNotFoundError:
        return
    except PermissionError:
        raise StackError(f"{folder} is in a folder of somebody else", cure) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        try:
            owner = pwd.getpwuid(owner_id).pw_name
        except KeyError:
            owner = str(owner_id)
        raise StackError(f"{folder} belongs to {owner}", cure)


def java() -> str:
    """The `java` program, 17 or newer, from JAVA_HOME or PATH; and the jars that it is to run."""
    home = os.environ.get("JAVA_HOME")
    program = f"{home}/bin/java" if home else shutil.which("java")
    if not program or not Path(program).exists():
        where = f"in JAVA_HOME ({home})" if home else "on PATH"
        raise StackError(f"no Java {where}: Kafka needs a JDK, 17 or newer", BOOTSTRAP)
    version = _java_version(program)
    if version < 17:
        raise StackError(f"{program} is Java {version}: Kafka needs a JDK, 17 or newer", BOOTSTRAP)
    for needed in (jars() / "libs", jars() / "plugins" / "debezium"):
        if not any(needed.glob("*.jar")):
            raise StackError(f"no jars in {needed}", BOOTSTRAP)
    return program


@cache
def _java_version(program: str) -> int:
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError as error:
        raise StackError(f"{program} does not run: {error.strerror}", BOOTSTRAP) from error
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(found[1]) if found else 0


def postgres_programs() -> Path:
    """The folder of `postgres` and `initdb`, 15 or newer."""
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(POSTGRES_USER)
        except KeyError:
            raise StackError(f"no user {POSTGRES_USER}: Postgres refuses to run as root", BOOTSTRAP) from None
    chosen = os.environ.get("MEDIALANE_STACK_POSTGRES")
    for folder in [Path(chosen)] if chosen else _debians_postgres(_POSTGRES):
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise StackError(f"no Postgres {_POSTGRES_VERSION} or newer in {chosen or _POSTGRES}", BOOTSTRAP)


def _debians_postgres(where: Path) -> list[Path]:
    """The programs' folders of the versions that are new enough, the newest first; 9.6 is a version, too."""
    versions = (folder.name for folder in where.iterdir()) if where.is_dir() else ()
    good = sorted((int(name) for name in versions if name.isdigit() and int(name) >= _POSTGRES_VERSION), reverse=True)
    return [where / str(version) / "bin" for version in good]


def weed() -> Path:
    """The S3 server's program, beside this environment's Python."""
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        raise StackError(f"no S3 server: {program} is missing", f"{BOOTSTRAP} (the extra `local`)")
    return program
