"""What making a video's variants costs in CPU seconds, against other ways to make the same: for the bench.

Every number is user plus system time of the ffmpeg runs alone, one thread each, of the same clip, in the same minute.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from processors.contract import Source
from processors.job import Job
from processors.video import ladder, storyboard
from processors.video.graph import Target, compile_run, target_size
from processors.video.probe import Clip, probe
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage


class Costs(NamedTuple):
    """CPU seconds.

    Of poster, 720p and preview in one run, in three, and their floor (decode, scale, and encode of ready frames); of
    the ladder in one run and with a run for each rung; of the storyboard by key frames and by a full decode.
    """

    trio: float
    trio_separate: float
    trio_floor: float
    ladder: float
    ladder_separate: float
    storyboard: float
    storyboard_full: float


def measure(source: Path, folder: Path) -> Costs:
    """Measure every way once; the clip is an MP4 or MOV, the folder is empty and keeps what was made."""
    clip = probe(source, "mp4", ProcessorSettings())
    profiles = profiles_for(Stage.VIDEO_PRIMARY)
    targets = [Target(each, *target_size(clip, each), folder / f"{each.name}.{each.extension}") for each in profiles]

    def trio(chosen: Sequence[Target]) -> float:
        return _cpu_s(compile_run(source, clip, chosen, threads=1, max_seconds=3600.0))

    silent = msgspec.structs.replace(clip, audio=None)
    whole, separate = _ladder(source, silent, folder)
    board, board_full = _storyboard(source, folder)
    return Costs(
        trio=trio(targets),
        trio_separate=sum(trio([target]) for target in targets),
        trio_floor=_floor(source, clip, targets, folder),
        ladder=whole,
        ladder_separate=separate,
        storyboard=board,
        storyboard_full=board_full,
    )


def _floor(source: Path, clip: Clip, targets: Sequence[Target], folder: Path) -> float:
    """One decode with its scaling, and one encode of each film from frames that are ready."""
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1"]
    total = 0.0
    for place, target in enumerate(target for target in targets if target.profile.format == "mp4"):
        frames, size = folder / f"{target.profile.name}.yuv", f"{target.width}x{target.height}"
        seconds = target.profile.max_seconds or 3600.0
        scale = ["-i", str(source), "-vf", f"scale={size.replace('x', ':')}", "-pix_fmt", "yuv420p", "-t", str(seconds)]
        subprocess.run([*ffmpeg, *scale, "-f", "rawvideo", str(frames)], check=True)
        if place == 0:
            total += _cpu_s([*ffmpeg, *scale, "-f", "null", "-"])
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", f"{clip.fps:g}", "-i", str(frames)]
        quality = str(target.profile.quality or 23)
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", quality, "-threads", "1", str(target.path)]
        total += _cpu_s([*ffmpeg, *raw, *encode])
        frames.unlink()
    return total


def _ladder(source: Path, clip: Clip, folder: Path) -> tuple[float, float]:
    [profile] = [profile for profile in profiles_for(Stage.VIDEO_LADDER) if profile.format == "hls"]
    rungs, job = ladder.steps(clip, profile), _job(source, folder)

    def run(chosen: Sequence[ladder.Step]) -> float:
        place = folder / "-".join(step.name for step in chosen)
        place.mkdir()
        return _cpu_s(ladder.compile_run(source, clip, chosen, place, job, gain_db=0.0))

    return run(rungs), sum(run([step]) for step in rungs)


def _repeated(source: Path, folder: Path) -> Path:
    """The clip three times over, not decoded: of a few seconds, a storyboard costs the start of ffmpeg and little else.

    For films of a minute the ratio is higher still (8 to 10); this much is what a bench has time for.
    """
    path = folder / "repeated.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "2", "-i", str(source), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    return path


def _storyboard(source: Path, folder: Path) -> tuple[float, float]:
    [profile] = [profile for profile in profiles_for(Stage.VIDEO_LADDER) if profile.format == "storyboard"]
    source = _repeated(source, folder)
    clip = msgspec.structs.replace(probe(source, "mp4", ProcessorSettings()), audio=None)
    size, job = storyboard.tile_size(clip, profile), _job(source, folder)
    some, every = (
        _cpu_s(storyboard.compile_run(source, clip, size, folder, job, only_key_frames=only)) for only in (True, False)
    )
    return some, every


def _job(source: Path, folder: Path) -> Job:
    settings = ProcessorSettings()
    what = Source(str(source), source.stat().st_size, "video/mp4", source.name)
    return Job(Stage.VIDEO_LADDER, what, folder, (), settings, 1, print, print)


def _cpu_s(argv: Sequence[str]) -> float:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv[0])
    return usage.ru_utime + usage.ru_stime
