"""Which files a process may touch at all, by the kernel's Landlock: code, its one input, its one folder.

A restriction holds for the calling thread and for what it starts from then on, and cannot be lifted: give it a thread
of its own, or a process that has no other yet. Linux 5.13 or later; where the kernel has none, the white lists and the
other walls still stand.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_EVERYTHING = (1 << 13) - 1  # all rights of the first version
_TRUNCATE_SINCE = 3
_RUN = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/dev/urandom", "/sys/devices/system", "/proc/cpuinfo")

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's Landlock version; 0 if there is none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


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
    ruleset = _made(_EVERYTHING | truncate)
    try:
        for code in (*_SYSTEM, *_homes(programs)):
            _allow(ruleset, Path(code), _RUN)
        _allow(ruleset, Path("/dev/null"), _READ_FILE | _WRITE_FILE)
        for path in reads:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writes:
            _allow(ruleset, path, (_EVERYTHING & ~_EXECUTE) | truncate)
        _check(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return True


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _made(handled: int) -> int:
    attribute = ctypes.c_uint64(handled)
    made = _libc.syscall(
        _CREATE_RULESET, ctypes.byref(attribute), ctypes.c_size_t(ctypes.sizeof(attribute)), ctypes.c_uint32(0)
    )
    return _check(made, "landlock_create_ruleset")


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # not every system has every folder
    try:
        allowed = access if path.is_dir() else access & _ON_FILES
        rule = _PathBeneath(allowed, descriptor)
        added = _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
        _check(added, f"landlock_add_rule for {path}")
    finally:
        os.close(descriptor)


def _homes(programs: Sequence[str]) -> set[str]:
    """The folders of programs that are installed somewhere else, and of their libraries."""
    found = (shutil.which(program) for program in programs)
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return {str(Path(path).resolve().parent) for path in found if path} | {path for path in libraries if path}


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
