"""The video pipeline: completeness, one probe, then one ffmpeg run for all of a stage, and a look at what it wrote."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from processors.contract import MediaError
from processors.ffmpeg import helper, loudness
from processors.ffmpeg.progress import Progress
from processors.job import Job, Outcome, longest_s
from processors.video import boxes, ladder, length, poster, storyboard
from processors.video.graph import Target, compile_run, target_size
from processors.video.probe import Clip, input_options, probe
from schemas.errors import ErrorCode

_ISO = frozenset({"mp4", "mov"})


def process(job: Job, path: Path, video_format: str) -> Outcome:
    """Make a job's variants of a video. Raises `MediaError`."""
    with job.timings.step("probe"):
        if video_format in _ISO:
            boxes.check_complete(path)
        clip = length.told(path, probe(path, video_format, job.settings), job.settings)
        job.probed(clip.work_s)
    clip, gain_db = _listened(job, path, clip)
    rss_mb = [0.0]
    targets = [Target(each, *target_size(clip, each), job.output(each)) for each in job.profiles if not each.is_bundle]
    if targets:
        rss_mb.append(_make(job, path, clip, targets, gain_db))
    for profile in job.profiles:
        if profile.format == "storyboard":
            rss_mb.append(storyboard.make(job, path, clip, profile))
        elif profile.format == "hls":
            rss_mb.append(ladder.make(job, path, clip, profile, gain_db=gain_db))
    return Outcome(
        kind="video",
        format=video_format,
        width=clip.width,
        height=clip.height,
        duration_s=clip.duration_s,
        helper_rss_mb=max(rss_mb),
    )


def _listened(job: Job, path: Path, clip: Clip) -> tuple[Clip, float]:
    """The gain in dB that brings the sound to its loudness; a track without a sample is taken for none."""
    wanted = next((profile.loudness for profile in job.profiles if profile.loudness is not None), None)
    if clip.audio is None or wanted is None:
        return clip, 0.0
    with job.timings.step("loudness"):
        options = input_options(clip.demuxer)
        heard = loudness.measure(path, options, clip.audio, clip.channels, max_seconds=job.settings.max_video_seconds)
    if heard is None:
        return msgspec.structs.replace(clip, audio=None), 0.0
    return clip, loudness.gain_db(heard, wanted)


def _make(job: Job, path: Path, clip: Clip, targets: Sequence[Target], gain_db: float) -> float:
    """Make and announce all targets; returns the peak memory of what was run, MiB."""
    argv = compile_run(
        path, clip, targets, threads=job.threads, max_seconds=job.settings.max_video_seconds, gain_db=gain_db
    )
    limit, listener = longest_s(job.settings, clip.work_s), Listener(job, clip, targets)
    with job.timings.step("ffmpeg"):
        ran = helper.run(
            argv,
            reads=path,
            writes=job.workdir,
            cpu_s=limit * job.threads,
            wall_s=limit,
            disk_bytes=job.settings.max_temp_bytes,
            on_line=listener.hear,
        )
    with job.timings.step("check"):
        left = [target for target in targets if target not in listener.announced]
        return max([ran.rss_mb, *(_finish(job, path, clip, target) for target in left)])


class Listener(Progress):
    """Hears ffmpeg's `-progress`, and announces a poster while the rest is still being made."""

    def __init__(self, job: Job, clip: Clip, targets: Sequence[Target]) -> None:
        super().__init__(job, clip.duration_s)
        self.announced: list[Target] = []
        self._posters = [target for target in targets if target.profile.format == "jpeg"]

    def hear(self, line: str) -> bool:
        """Take one line; true at the end of a block of them."""
        if not super().hear(line):
            return False
        for target in [target for target in self._posters if poster.is_good(target.path)]:
            self._posters.remove(target)
            self._job.finish(target.profile, target.width, target.height)
            self.announced.append(target)
        return True


def _finish(job: Job, source: Path, clip: Clip, target: Target) -> float:
    """Check a written file and announce it; returns the peak memory of what that took, MiB."""
    if target.profile.format == "jpeg":
        rss_mb = poster.ensure(source, clip, target)
        if not target.path.is_file():
            raise MediaError(ErrorCode.CORRUPT, "No frame of the video can be decoded.")
        job.finish(target.profile, target.width, target.height)
        return rss_mb
    try:
        movie = boxes.read_movie(target.path)
    except (ValueError, OSError) as error:
        # ffmpeg is content with a source of which no frame decodes, and writes a file without any.
        raise MediaError(ErrorCode.CORRUPT, f"No frame of the video can be decoded: {error}.") from error
    job.finish(target.profile, movie.width, movie.height, round(movie.duration_s, 3))
    return 0.0
