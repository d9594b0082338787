"""Runs ffprobe and ffmpeg from inside a media child: they die with it, under a CPU allowance and a deadline."""

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

from processors.contract import MediaError
from processors.sandbox import landlock, limits
from schemas.errors import ErrorCode

_ERROR_BYTES = 8192
# util-linux's setpriv sets PDEATHSIG and then becomes the program, so a killed child leaves no ffmpeg running.
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")

_MEANINGS: tuple[tuple[str, ErrorCode], ...] = (
    ("No space left on device", ErrorCode.NO_TEMP_SPACE),
    ("Disk quota exceeded", ErrorCode.NO_TEMP_SPACE),
    ("File too large", ErrorCode.LIMIT_EXCEEDED),
    ("Cannot allocate memory", ErrorCode.LIMIT_EXCEEDED),
    ("moov atom not found", ErrorCode.TRUNCATED),
    ("not in whitelist", ErrorCode.UNSUPPORTED_FORMAT),
    ("not on whitelist", ErrorCode.UNSUPPORTED_FORMAT),
    ("whitelist", ErrorCode.UNSUPPORTED_FORMAT),
)


class Finished(NamedTuple):
    """What a program left: its standard output, its last words, and its peak memory in MiB."""

    output: str
    errors: str
    rss_mb: float


def run(
    argv: Sequence[str],
    *,
    reads: Path,
    writes: Path | None = None,
    cpu_s: float,
    wall_s: float,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program to its end. It can open the file `reads` and the folder `writes`, and nothing else of anybody's.

    With `on_line`, its output is handed over line by line and not kept.
    Raises `MediaError`: permanent if the input or a limit is to blame, transient otherwise.
    """
    # The confinement is a thread's and cannot be lifted, so it gets one of its own, in which nothing else ever runs
    # (libvips, say, would let threads inherit it). The program's life is that thread's too, by PDEATHSIG.
    with tempfile.TemporaryFile() as errors, ThreadPoolExecutor(1) as thread:
        process = thread.submit(_start, argv, reads, writes, errors).result()
        with process:
            limits.limit_cpu_of(process.pid, cpu_s)
            deadline = _Deadline(process, wall_s)
            kept: list[str] = []
            try:
                for line in process.stdout or ():
                    (on_line or kept.append)(line)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                process.kill()
                raise
            finally:
                deadline.cancel()
        words = _last_words(errors.fileno())
    if deadline.passed:
        raise MediaError(ErrorCode.PROCESSING_TIMEOUT, f"{argv[0]} was not finished after {wall_s:g} s.")
    if process.returncode < 0:
        raise limits.death(status, argv[0])
    if process.returncode > 0:
        raise _failure(argv[0], words)
    return Finished("".join(kept), words, usage.ru_maxrss / 1024)


def _start(argv: Sequence[str], reads: Path, writes: Path | None, errors: IO[bytes]) -> "subprocess.Popen[str]":
    landlock.confine(argv[:1], [reads], [writes] if writes else [])
    # It stays in the child's process group, which is killed as a whole.
    return subprocess.Popen(
        [*_DIE_WITH_PARENT, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """The child's, less what tunes the allocator for pictures: it would have ffmpeg's threads queue for one arena."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


class _Deadline:
    """Kills a process that is not finished in time."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        self._timer.start()
        self.cancel = self._timer.cancel

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()


def _last_words(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, _ERROR_BYTES, max(0, size - _ERROR_BYTES))
    # The path of the temporary file is nobody's business.
    return re.sub(r"file:\S+|/\S+/", "", data.decode(errors="replace")).strip()


def _failure(program: str, words: str) -> MediaError:
    code = next((code for pattern, code in _MEANINGS if pattern in words), ErrorCode.CORRUPT)
    last = " / ".join(words.splitlines()[-3:])[:300]
    return MediaError(code, f"{program} gave up: {last or 'it did not say why'}")
