"""A child's loop: take a task from the worker, run it under its CPU allowance, answer, and wait for the next."""

import os
import socket
import tempfile
from pathlib import Path

from processors.contract import Cost, MediaError, ProcessingReport
from processors.dispatch import runner
from processors.job import Job, Outcome
from processors.sandbox import landlock, limits, wire
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings
from schemas.states import MediaKind

PROGRAMS = ("ffmpeg", "ffprobe")
_CONFIGURATION = (Path("/etc/ImageMagick-6"), Path("/etc/ImageMagick-7"))  # what an operator has forbidden besides


def serve(sock: socket.socket, cell: Path, settings: ProcessorSettings, threads: int) -> None:
    """Run tasks in the cell until the worker closes its end. `threads` is what one ffmpeg may use.

    To be called before the process has a second thread: from then on it reaches its cell and code, and no other file.
    """
    child = _Child(sock, cell, settings, threads)
    _work_in(str(cell))
    landlock.confine(PROGRAMS, [*landlock.of_python(), *_CONFIGURATION], [cell])
    while message := sock.recv(wire.MAX_MESSAGE):
        child.answer(wire.to_child.decode(message))


class _Child:
    def __init__(self, sock: socket.socket, cell: Path, settings: ProcessorSettings, threads: int) -> None:
        self._sock = sock
        self._cell = cell
        self._settings = settings
        self._threads = threads
        self._run = runner(settings)
        self._memory = limits.Memory()

    def answer(self, task: wire.Task) -> None:
        """Run a task and tell of it."""
        self._memory.reset_peak()
        image = task.stage.kind is MediaKind.IMAGE
        limits.allow_cpu(self._settings.image_timeout_s if image else self._settings.video_timeout_s)
        job = Job(
            task.stage, task.source, self._cell, task.profiles, self._settings, self._threads,
            made=lambda rendition: self._tell(wire.Made(rendition)),
            progressed=lambda fraction: self._tell(wire.Progressed(fraction)),
            probed=lambda work_s: self._tell(wire.Probed(work_s)),
        )  # fmt: skip
        try:
            outcome = self._run(job)
        except Exception as error:  # noqa: BLE001 - a bug in a decoder fails its job, not the child
            self._tell(self._failed(_as_ours(error), job))
        else:
            self._tell(self._done(outcome, job))

    def _done(self, outcome: Outcome, job: Job) -> wire.Done:
        now, peak = self._memory.rss_mb()
        report = ProcessingReport(
            kind=outcome.kind,
            format=outcome.format,
            width=outcome.width,
            height=outcome.height,
            duration_s=outcome.duration_s,
            max_rss_mb=max(peak, outcome.helper_rss_mb),
            steps=job.timings.taken(),
            details=outcome.details,
        )
        return wire.Done(report, now)

    def _failed(self, error: MediaError, job: Job) -> wire.Failed:
        now, peak = self._memory.rss_mb()
        helper = error.cost.max_rss_mb if error.cost else 0.0
        cost = Cost(max_rss_mb=max(peak, helper), steps=job.timings.taken())
        detail = error.detail.replace("\0", "")[: wire.LONGEST_DETAIL]
        # Whether the disk is full the worker sees by itself, before it gives out a job.
        code = ErrorCode.PROCESSING_FAILED if error.code is ErrorCode.NO_TEMP_SPACE else error.code
        return wire.Failed(code, detail, cost, now)

    def _tell(self, message: wire.FromChild) -> None:
        self._sock.send(wire.encode(message))


def _as_ours(error: Exception) -> MediaError:
    if isinstance(error, MediaError):
        return error
    if isinstance(error, MemoryError):
        return MediaError(ErrorCode.LIMIT_EXCEEDED, "Decoding needs more memory than is allowed.")
    if isinstance(error, OSError):
        return limits.os_failure(error)
    return MediaError(ErrorCode.PROCESSING_FAILED, f"{type(error).__name__}: {error}"[:500])


def _work_in(folder: str) -> None:
    """Make a folder the place of relative and temporary files, for libraries and for what they start."""
    os.chdir(folder)
    os.environ["TMPDIR"] = os.environ["MAGICK_TEMPORARY_PATH"] = folder
    tempfile.tempdir = folder
