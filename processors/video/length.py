"""The length of a film that does not tell it, as browsers record them: its packets are read, and none is decoded."""

from pathlib import Path

import ffmpeg
import msgspec

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.ffmpeg.argv import command
from processors.ffmpeg.ffprobe import check_length
from processors.ffmpeg.progress import reached_s
from processors.video.probe import Clip, check_work, input_options
from schemas.errors import ErrorClass, ErrorCode
from schemas.settings import ProcessorSettings

_CPU_S, _WALL_S = 60.0, 300.0
_BEYOND_S = 1.0


def told(path: Path, clip: Clip, settings: ProcessorSettings) -> Clip:
    """The clip with its duration, unless the file breaks off before one is known.

    Raises `MediaError` if it is too long, by what it takes, too, or if its measuring was cut off.
    """
    if clip.duration_s is not None:
        return clip
    measured = msgspec.structs.replace(clip, duration_s=_measured(path, clip, settings.max_video_seconds + _BEYOND_S))
    check_length(measured.duration_s, settings)
    check_work(measured, settings)
    return measured


def _measured(path: Path, clip: Clip, longest_s: float) -> float | None:
    seconds = 0.0

    def hear(line: str) -> None:
        nonlocal seconds
        seconds = max(seconds, reached_s(line) or 0.0)

    read = ffmpeg.input(f"file:{path}", **input_options(clip.demuxer), t=longest_s)
    argv = command(ffmpeg.output(read[str(clip.video)], "-", f="null", vcodec="copy"), "-progress", "pipe:1")
    try:
        helper.run(argv, reads=path, cpu_s=_CPU_S, wall_s=_WALL_S, on_line=hear)
    except MediaError as error:
        # What is wrong with it shows again, with its own word, when it is decoded. A run cut off measured less.
        if error.error_class is not ErrorClass.PERMANENT or error.code is ErrorCode.LIMIT_EXCEEDED:
            raise
    return seconds or None
