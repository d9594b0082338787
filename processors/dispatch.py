"""From a job to the pipeline of its kind: sniff first, refuse what is not of the stage's kind, then process."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from processors import audio, images, video
from processors.contract import MediaError
from processors.job import Job, Outcome
from processors.sniff import Sniffed, sniff
from processors.video import boxes
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings
from schemas.states import MediaKind

_ISO = frozenset({"mp4", "mov"})


def run(job: Job) -> Outcome:
    """Run a job to its end in this process.

    Raises `MediaError`; may raise `MemoryError` or `OSError` when the process meets a limit.
    """
    path = Path(job.source.path)
    size, allowed = path.stat().st_size, _allowed_bytes(job)
    if size > allowed:
        raise MediaError(ErrorCode.TOO_LARGE, f"{size} bytes; allowed are {allowed}.")
    with job.timings.step("sniff"):
        found = sniff(path)
        if found.format in _ISO and job.stage.kind is MediaKind.AUDIO and boxes.sound_alone(path):
            found = Sniffed(MediaKind.AUDIO, "m4a")  # as Android's and browsers' recorders name it
    if found.kind is not job.stage.kind:
        # "photo.jpg" that is an MP4: processing it anyway would bill and lane it as what it is not.
        raise MediaError(
            ErrorCode.TYPE_MISMATCH,
            f"Declared as {job.source.declared_type or job.stage.kind}, but the content is {found.format}.",
        )
    return _PIPELINES[found.kind](job, path, found.format)


_PIPELINES: dict[MediaKind, Callable[[Job, Path, str], Outcome]] = {
    MediaKind.IMAGE: images.process,
    MediaKind.VIDEO: video.process,
    MediaKind.AUDIO: audio.process,
}


def runner(settings: ProcessorSettings) -> Callable[[Job], Outcome]:
    """`run`, or what the settings put around it: a function that gets `run` and the job. Raises `ImportError`."""
    if settings.around is None:
        return run
    module, _, name = settings.around.partition(":")
    return partial(getattr(importlib.import_module(module), name), run)


def _allowed_bytes(job: Job) -> int:
    image = job.stage.kind is MediaKind.IMAGE
    return job.settings.max_image_bytes if image else job.settings.max_video_bytes
