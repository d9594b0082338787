"""The video pipeline: completeness, one probe, one ffmpeg run for everything, then a look at what it wrote."""

from collections.abc import Sequence
from pathlib import Path

from processors.contract import MediaError
from processors.job import Job, Outcome
from processors.video import boxes, helper, poster
from processors.video.graph import Target, compile_run, target_size
from processors.video.probe import Clip, probe
from schemas.errors import ErrorCode

_ISO = frozenset({"mp4", "mov"})
_MICROSECONDS = 1_000_000


def process(job: Job, path: Path, video_format: str) -> Outcome:
    """Make a job's variants of a video. Raises `MediaError`."""
    with job.timings.step("probe"):
        if video_format in _ISO:
            boxes.check_complete(path)
        clip = probe(path, video_format, job.settings)
    targets = [Target(profile, *target_size(clip, profile), job.output(profile)) for profile in job.wanted]
    rss_mb = _make(job, path, clip, targets) if targets else 0.0
    return Outcome(
        kind="video",
        format=video_format,
        width=clip.width,
        height=clip.height,
        duration_s=clip.duration_s,
        helper_rss_mb=rss_mb,
    )


def _make(job: Job, path: Path, clip: Clip, targets: Sequence[Target]) -> float:
    """Make and announce all targets; returns the peak memory of what was run, MiB."""
    argv = compile_run(path, clip, targets, threads=job.threads, max_seconds=job.settings.max_video_seconds)
    limit, listener = job.settings.video_timeout_s, Listener(job, clip, targets)
    with job.timings.step("ffmpeg"):
        ran = helper.run(
            argv, reads=path, writes=job.workdir, cpu_s=limit * job.threads, wall_s=limit, on_line=listener.hear
        )
    with job.timings.step("check"):
        left = [target for target in targets if target not in listener.announced]
        return max([ran.rss_mb, *(_finish(job, path, clip, target) for target in left)])


class Listener:
    """Hears ffmpeg's `-progress`: tells the share that is done, and announces a poster while the rest is being made."""

    def __init__(self, job: Job, clip: Clip, targets: Sequence[Target]) -> None:
        self.announced: list[Target] = []
        self._job = job
        self._duration_s = clip.duration_s
        self._posters = [target for target in targets if target.profile.format == "jpeg"]

    def hear(self, line: str) -> None:
        """Take one line; a block of them, ended by `progress=...`, comes twice a second."""
        name, _, value = line.strip().partition("=")
        if name == "out_time_us" and self._duration_s and value.lstrip("-").isdigit():
            self._job.progressed(min(1.0, max(0.0, int(value) / _MICROSECONDS / self._duration_s)))
        elif name == "progress":
            for target in [target for target in self._posters if poster.is_good(target.path)]:
                self._posters.remove(target)
                self._job.finish(target.profile, target.width, target.height)
                self.announced.append(target)


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
