"""Runs ffprobe and ffmpeg from inside a media child: they die with it, under allowances of CPU, time and disk."""

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

from processors.contract import Cost, MediaError
from processors.sandbox import landlock, limits
from schemas.errors import ErrorCode

_ERROR_BYTES = 8192
_OUTPUT_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_S = 0.25
# util-linux's setpriv sets PDEATHSIG and then becomes the program, so a killed child leaves no ffmpeg running.
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")

_MEANINGS: tuple[tuple[str, ErrorCode], ...] = (
    ("No space left on device", ErrorCode.NO_TEMP_SPACE),
    ("Disk quota exceeded", ErrorCode.NO_TEMP_SPACE),
    ("File too large", ErrorCode.LIMIT_EXCEEDED),
    ("Cannot allocate memory", ErrorCode.LIMIT_EXCEEDED),
    ("moov atom not found", ErrorCode.TRUNCATED),
)
# ffprobe's alone: ffmpeg says it, and goes on, of whatever lies beside the sound and the pictures.
_FFPROBES_MEANINGS = (*_MEANINGS, ("whitelist", ErrorCode.UNSUPPORTED_FORMAT))


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
    disk_bytes: int | None = None,
    on_line: Callable[[str], object] | None = None,
) -> Finished:
    """Run a program to its end. It can open the file `reads` and the folder `writes`, and nothing else of anybody's.

    With `on_line`, its output is handed over line by line and not kept. `disk_bytes` bounds what may lie in `writes`.
    Raises `MediaError`: permanent if the input or a limit is to blame, transient otherwise.
    """
    # The confinement is a thread's and cannot be lifted, so it gets one of its own, in which nothing else ever runs
    # (libvips, say, would let threads inherit it). The program's life is that thread's too, by PDEATHSIG.
    with tempfile.TemporaryFile() as errors, ThreadPoolExecutor(1) as thread:
        process = thread.submit(_start, argv, reads, writes, errors).result()
        with process:
            limits.limit_cpu_of(process.pid, cpu_s)
            watch = _Watch(process.pid, wall_s, writes, disk_bytes)
            kept = ""
            try:
                kept = _heard(process, on_line)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                process.kill()
                raise
            finally:
                watch.end()
        words = _last_words(errors.fileno())
    rss_mb = usage.ru_maxrss / 1024
    error = watch.verdict
    if error is None and process.returncode < 0:
        error = limits.death(status, argv[0])
    elif error is None and process.returncode > 0:
        error = _failure(argv[0], words)
    if error:
        error.cost = Cost(cpu_s=usage.ru_utime + usage.ru_stime, max_rss_mb=rss_mb)
        raise error
    return Finished(kept, words, rss_mb)


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


def _heard(process: "subprocess.Popen[str]", on_line: Callable[[str], object] | None) -> str:
    """All that a program says, handed on line by line, or kept and returned. Raises `MediaError` if it is too much."""
    stream = process.stdout
    if stream is None:
        raise RuntimeError("its output is a pipe")
    if on_line is None:
        kept = stream.read(_OUTPUT_BYTES + 1)
        if len(kept) > _OUTPUT_BYTES:
            raise MediaError(ErrorCode.LIMIT_EXCEEDED, "The file describes itself at absurd length.")
        return kept
    for line in stream:
        on_line(line)
    return ""


class _Watch:
    """Kills a process that is not finished in time, or whose folder holds more than it may."""

    def __init__(self, pid: int, seconds: float, folder: Path | None, allowed: int | None) -> None:
        self.verdict: MediaError | None = None
        self._process = os.pidfd_open(pid)  # Popen's own kill may reap, and its usage would be lost
        self._seconds = seconds
        self._folder = folder
        self._allowed = allowed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()
        os.close(self._process)

    def _look(self) -> None:
        deadline = time.monotonic() + self._seconds
        while not self._over.wait(_LOOK_EVERY_S):
            self.verdict = self._judged(deadline)
            if self.verdict:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
                return

    def _judged(self, deadline: float) -> MediaError | None:
        if time.monotonic() > deadline:
            detail = f"A step was not finished after {self._seconds:g} s."
            return MediaError(ErrorCode.PROCESSING_TIMEOUT, detail)
        if self._folder and self._allowed and size_of(self._folder) > self._allowed:
            return MediaError(ErrorCode.LIMIT_EXCEEDED, f"The job's files take more than {self._allowed} bytes.")
        return None


def size_of(folder: Path) -> int:
    """The bytes of disk that a folder's files take."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118 - four times a second
            except FileNotFoundError:
                continue
    return total


def _last_words(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, _ERROR_BYTES, max(0, size - _ERROR_BYTES))
    # The path of the temporary file is nobody's business.
    return re.sub(r"file:\S+|/\S+/", "", data.decode(errors="replace")).strip()


def _failure(program: str, words: str) -> MediaError:
    meanings = _FFPROBES_MEANINGS if program == "ffprobe" else _MEANINGS
    code = next((code for pattern, code in meanings if pattern in words), ErrorCode.CORRUPT)
    last = " / ".join(words.splitlines()[-3:])[:300]
    return MediaError(code, f"{program} gave up: {last or 'it did not say why'}")
