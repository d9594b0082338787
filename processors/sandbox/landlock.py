"""What a process may touch at all, by the kernel's Landlock: code, its one input, its one folder, and nobody else.

A restriction holds for the calling thread and for what it starts from then on, and cannot be lifted: give it a thread
of its own, or a process that has no other yet. Files: Linux 5.13 or later; TCP: 6.7; signals to processes outside, and
abstract Unix sockets: 6.12. Where the kernel has none, the white lists and the other walls still stand.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from processors.sandbox import limits

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_EVERYTHING = (1 << 13) - 1  # all rights of the first version
_TRUNCATE_SINCE = 3
_BIND_AND_CONNECT_TCP = 0b11
_TCP_SINCE = 4
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_SCOPES_SINCE = 6
_RUN = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/dev/urandom", "/sys/devices/system", "/proc/cpuinfo")

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's Landlock version; 0 if there is none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


def keeps_signals() -> bool:
    """Whether what is confined can signal nobody but itself and what it starts."""
    return version() >= _SCOPES_SINCE


def of_python() -> list[Path]:
    """What a running interpreter may still have to load: its library, what is installed, and our own packages."""
    ours = (Path(__file__).parents[2] / package for package in ("processors", "schemas"))
    return [Path(sys.prefix), Path(sys.base_prefix), *ours]


def confine(programs: Sequence[str], reads: Sequence[Path], writes: Sequence[Path]) -> bool:
    """Leave this thread, and what it starts, nothing but the system's and the programs' code, `reads` and `writes`.

    Returns False, and confines nothing, where the kernel has no Landlock. Raises `OSError` if it has but fails.
    """
    abi = version()
    if not abi:
        return False
    truncate = _TRUNCATE if abi >= _TRUNCATE_SINCE else 0
    tcp = _BIND_AND_CONNECT_TCP if abi >= _TCP_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= _SCOPES_SINCE else 0
    ruleset = _made(_Attributes(_EVERYTHING | truncate, tcp, scopes))
    try:
        for code in (*map(Path, _SYSTEM), *homes_of(programs)):
            _allow(ruleset, code, _RUN)
        _allow(ruleset, Path("/dev/null"), _READ_FILE | _WRITE_FILE)
        for path in reads:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writes:
            _allow(ruleset, path, (_EVERYTHING & ~_EXECUTE) | truncate)
        limits.drop_privilege_gains()  # or only a privileged thread could; this, too, is the calling thread's alone
        limits.checked(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return True


class _Attributes(ctypes.Structure):
    """What is forbidden as long as no rule allows it. A kernel that does not know the later fields wants them 0."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _made(forbidden: _Attributes) -> int:
    size = ctypes.c_size_t(ctypes.sizeof(forbidden))
    made = _libc.syscall(_CREATE_RULESET, ctypes.byref(forbidden), size, ctypes.c_uint32(0))
    return limits.checked(made, "landlock_create_ruleset")


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # not every system has every folder
    try:
        allowed = access if path.is_dir() else access & _ON_FILES
        rule = _PathBeneath(allowed, descriptor)
        added = _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
        limits.checked(added, f"landlock_add_rule for {path}")
    finally:
        os.close(descriptor)


def homes_of(programs: Sequence[str]) -> set[Path]:
    """The folders of programs that are installed somewhere else, and of their libraries."""
    found = (shutil.which(program) for program in programs)
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return {Path(path).resolve().parent for path in found if path} | {Path(path) for path in libraries if path}
