"""A child's loop: take a task from the worker, run it under its CPU allowance, answer, and wait for the next."""

import os
import resource
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from processors.contract import Cost, MediaError, ProcessingReport, Rendition
from processors.dispatch import runner
from processors.job import Job, Outcome
from processors.sandbox import limits, wire
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings
from schemas.states import MediaKind

_NO_SPACE = {28, 122}  # ENOSPC, EDQUOT
_TOO_BIG = 27  # EFBIG: RLIMIT_FSIZE


def serve(sock: socket.socket, settings: ProcessorSettings, threads: int) -> None:
    """Run tasks until the worker closes its end. `threads` is what one ffmpeg may use."""
    run = runner(settings)
    while message := sock.recv(wire.MAX_MESSAGE):
        task = wire.to_child.decode(message)
        sock.send(wire.encode(_answer(task, sock, settings, threads, run)))


def _answer(
    task: wire.Task,
    sock: socket.socket,
    settings: ProcessorSettings,
    threads: int,
    run: Callable[[Job], Outcome],
) -> wire.Done | wire.Failed:
    limits.reset_peak_rss()
    image = task.stage.kind is MediaKind.IMAGE
    limits.allow_cpu(settings.image_timeout_s if image else settings.video_timeout_s)

    def made(rendition: Rendition) -> None:
        sock.send(wire.encode(wire.Made(rendition)))

    def progressed(fraction: float) -> None:
        sock.send(wire.encode(wire.Progressed(fraction)))

    job = Job(
        task.stage, task.source, Path(task.workdir), task.profiles, task.skip, settings, threads, made, progressed
    )
    before = _cpu_s()
    try:
        _work_in(task.workdir)
        outcome = run(job)
    except Exception as error:  # noqa: BLE001 - a bug in a decoder fails its job, not the child
        return _failed(_as_ours(error), job, before)
    finally:
        _work_in("/")
    now, peak = limits.rss_mb()
    used = _cpu_s()
    report = ProcessingReport(
        kind=outcome.kind,
        format=outcome.format,
        width=outcome.width,
        height=outcome.height,
        duration_s=outcome.duration_s,
        cpu_s=used - before,
        max_rss_mb=max(peak, outcome.helper_rss_mb),
        stages=job.timings.taken(),
        details=outcome.details,
    )
    return wire.Done(report, now, used)


def _failed(error: MediaError, job: Job, before: float) -> wire.Failed:
    now, peak = limits.rss_mb()
    used = _cpu_s()
    helper = error.cost.max_rss_mb if error.cost else 0.0
    cost = Cost(cpu_s=used - before, max_rss_mb=max(peak, helper), stages=job.timings.taken())
    return wire.Failed(error.code, error.detail, cost, now, used)


def _as_ours(error: Exception) -> MediaError:
    if isinstance(error, MediaError):
        return error
    if isinstance(error, MemoryError):
        return MediaError(ErrorCode.LIMIT_EXCEEDED, "Decoding needs more memory than is allowed.")
    if isinstance(error, OSError):
        return MediaError(_os_code(error), f"{type(error).__name__}: {error.strerror}")
    return MediaError(ErrorCode.PROCESSING_FAILED, f"{type(error).__name__}: {error}"[:500])


def _work_in(folder: str) -> None:
    """Make a folder the place of relative and temporary files, for libraries and for what they start."""
    os.chdir(folder)
    os.environ["TMPDIR"] = os.environ["MAGICK_TEMPORARY_PATH"] = folder
    tempfile.tempdir = folder


def _cpu_s() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _os_code(error: OSError) -> ErrorCode:
    if error.errno in _NO_SPACE:
        return ErrorCode.NO_TEMP_SPACE
    return ErrorCode.LIMIT_EXCEEDED if error.errno == _TOO_BIG else ErrorCode.PROCESSING_FAILED
