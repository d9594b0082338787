"""Why a part did not start, from what it printed; and what the system refused: cause first, then cure."""

import re
import signal
from pathlib import Path

from cli.stack.checks import BOOTSTRAP
from cli.stack.errors import StackError

_SIGNS = (
    (
        r"[Aa]ddress already in use|Failed to bind|BindException|port \d+ .*in use",
        "a port of it is taken by another program",
        "Run the command again: the stack chooses other ports",
    ),
    (r"(?i)no space left on device|disk quota exceeded", "the disk is full", "Free some space"),
    (
        # Of the JVM, Postgres, the C library and Go, in this order.
        (
            r"(?i)insufficient memory|OutOfMemoryError|could not map anonymous shared memory|cannot allocate memory"
            r"|out of memory|failed to reserve page summary"
        ),
        "there is not enough memory",
        "Stop other programs",
    ),
    (
        r'lock file "postmaster.pid" already exists|Lock acquisition failure|Failed to acquire lock',
        "another process holds its data folder",
        "Stop that process (the log names it), or use another folder with --dir",
    ),
    (r"wrong ownership|[Pp]ermission denied", "it may not use its data folder", "Use another folder with --dir"),
    (r"UnsupportedClassVersionError", "this Java is too old", BOOTSTRAP),
    (r"ClassNotFoundException|NoClassDefFoundError", "its jars are incomplete", BOOTSTRAP),
    (r"(?m)^(?:medialane: )?(MEDIALANE_\w+[= ].*)$", "", ""),
    (r"(No such command[^\n]*)", "", ""),
)  # cause "" means: what the pattern found says it better, all of it

# What follows the words that say why: the frames of a Java program, and what initdb tidies up.
_AFTERWARDS = re.compile(r"\s+at |\s*\.\.\. \d+ more|initdb: removing |child process exited ")


def diagnose(name: str, log: str, *, exit_code: int | None, log_path: Path) -> StackError:
    """Why a part did not start, from the end of its log."""
    how = "did not become ready in time" if exit_code is None else f"stopped during its start (exit {exit_code})"
    cause, cure = _known(log) or _killed(exit_code) or (_last_words(log), "")
    return StackError(f"{name} {how}{cause and f': {cause}'}", f"{cure}. Its log: {log_path}".lstrip(". "))


def refused(error: OSError) -> StackError:
    """What the system refused the stack itself."""
    _, cure = _known(str(error)) or ("", "")
    where = f"{error.filename}: " if error.filename else ""
    return StackError(f"{where}{error.strerror or error}", cure)


def _known(log: str) -> tuple[str, str] | None:
    for pattern, cause, cure in _SIGNS:
        found = re.findall(pattern, log)
        if found:
            return cause or "; ".join(dict.fromkeys(found)), cure
    return None


def _killed(exit_code: int | None) -> tuple[str, str] | None:
    """Whoever is short of memory in a limit of its own kills without a word."""
    if exit_code != -signal.SIGKILL:
        return None
    return "it was killed, most likely for want of memory", "Stop other programs, or raise the limit"


def _last_words(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip() and not _AFTERWARDS.match(line)]
    return lines[-1].strip()[:300] if lines else ""
