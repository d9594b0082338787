"""What the kernel holds a child to: its parent's life, memory, CPU time, file size, descriptors, and no network.

Linux only, through `prctl`, `unshare` and `setrlimit`.
"""

import ctypes
import errno
import os
import resource
import signal
import time
from pathlib import Path

from processors.contract import MediaError
from processors.job import LONGEST_S
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_MAX_DESCRIPTORS = 256
_SLACK_S = 60
_CLOCK_OF_PROCESS = 2  # with a process's number above it, as clock_getcpuclockid(3) makes them
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# ImageMagick ends its process like this when it meets a limit where it cannot raise an error.
_GAVE_UP = 1
DEFECT = 70
"""The exit status of a child that fails by itself, not in a library."""
_MIB = 1024 * 1024
_OS_CODES = {
    errno.ENOSPC: ErrorCode.NO_TEMP_SPACE,
    errno.EDQUOT: ErrorCode.NO_TEMP_SPACE,
    errno.EFBIG: ErrorCode.LIMIT_EXCEEDED,  # RLIMIT_FSIZE
}

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` (its present parent's id) ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be reaped here."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def drop_privilege_gains() -> None:
    """Make set-user-id programs powerless for this process and its descendants."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def leave_network() -> bool:
    """Move into an empty network namespace; False where the kernel does not allow it (the other walls stay)."""
    return any(_libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def apply_lifetime_limits(settings: ProcessorSettings, threads: int) -> None:
    """Limits that hold for a child's whole life and for all that it starts. `threads` is what one ffmpeg may use."""
    of_its_jobs = settings.jobs_per_child * max(settings.image_timeout_s, settings.video_timeout_s)
    _lower(resource.RLIMIT_CPU, int(max(of_its_jobs, LONGEST_S * threads)) + _SLACK_S)
    _lower(resource.RLIMIT_AS, settings.memory_mb * _MIB)
    _lower(resource.RLIMIT_FSIZE, settings.max_output_bytes)
    _lower(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _lower(resource.RLIMIT_CORE, 0)


def allow_cpu(seconds: float) -> None:
    """Grant this process `seconds` of CPU time from now on; past them the kernel sends SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # The limit counts whole seconds since the process began.
    allowed = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (_within(hard, allowed), hard))


def limit_cpu_of(pid: int, seconds: float) -> None:
    """Grant a just started process `seconds` of CPU time; it is killed past them."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
    allowed = _within(hard, int(seconds) + 2)
    resource.prlimit(pid, resource.RLIMIT_CPU, (allowed - 1, allowed))


def cpu_s_of(pid: int) -> float | None:
    """What a process and those that it has waited for have used, seconds; None if there is no such process."""
    try:
        own = time.clock_gettime(~pid << 3 | _CLOCK_OF_PROCESS)
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return own + sum(map(int, fields[13:15])) / _TICKS_A_SECOND


class Memory:
    """The process's own memory, by files of `/proc` that stay open: fenced in, it could not open them."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self._clear_refs = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)

    def reset_peak(self) -> None:
        """Start a new high-water mark."""
        os.pwrite(self._clear_refs, b"5", 0)

    def rss_mb(self) -> tuple[float, float]:
        """In MiB: now, and at its highest since `reset_peak`."""
        sizes = {"VmRSS": 0.0, "VmHWM": 0.0}
        for line in os.pread(self._status, 8192, 0).decode().splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) / 1024
        return sizes["VmRSS"], sizes["VmHWM"]


def death(status: int, what: str) -> MediaError:
    """The error for a process that ended by itself; `status` is a wait status, `what` names the process for people.

    A limit that the input ran into is permanent; a crash, or a kill from outside (out of memory), may pass.
    """
    code = os.waitstatus_to_exitcode(status)
    if -code == signal.SIGXCPU:
        return MediaError(ErrorCode.LIMIT_EXCEEDED, f"Decoding took more CPU time than is allowed ({what}).")
    if -code == signal.SIGXFSZ:
        return MediaError(ErrorCode.LIMIT_EXCEEDED, f"The result is larger than is allowed ({what}).")
    if code == _GAVE_UP:
        return MediaError(ErrorCode.LIMIT_EXCEEDED, f"A library gave up at a limit ({what}).")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return MediaError(ErrorCode.CHILD_DIED, f"The processing child {how} ({what}).")


def os_failure(error: OSError) -> MediaError:
    """The error for a system call that the kernel refused: at a limit, for want of space, or else a failure."""
    code = _OS_CODES.get(error.errno or 0, ErrorCode.PROCESSING_FAILED)
    return MediaError(code, f"{type(error).__name__}: {error.strerror}")


def checked(result: int, what: str) -> int:
    """A system call's result; raises its `OSError` if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int) -> None:
    checked(_libc.prctl(option, value, 0, 0, 0), f"prctl({option})")


def _lower(which: int, limit: int) -> None:
    _, hard = resource.getrlimit(which)
    ceiling = _within(hard, limit)
    resource.setrlimit(which, (ceiling, ceiling))


def _within(hard: int, limit: int) -> int:
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)
