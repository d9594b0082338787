"""The video pipeline: completeness, one probe, then one ffmpeg run for all of a stage, and a look at what it wrote."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from processors.contract import MediaError
from processors.ffmpeg import helper, loudness
from processors.ffmpeg.progress import Progress
from processors.images.placeholder import Placeholder
from processors.job import Job, Outcome, longest_s
from processors.video import boxes, ladder, length, poster, storyboard
from processors.video.graph import Target, compile_run, poster_at, target_size
from processors.video.probe import Clip, input_options, probe
from schemas.details import Details
from schemas.errors import ErrorCode
from schemas.profiles import CATALOGUE

_ISO = frozenset({"mp4", "mov"})
_ORNAMENT_S = 15.0


def process(job: Job, path: Path, video_format: str) -> Outcome:
    """Make a job's variants of a video. Raises `MediaError`."""
    with job.timings.step("probe"):
        if video_format in _ISO:
            boxes.check_complete(path)
        clip = length.told(path, probe(path, video_format, job.settings), job.settings)
        job.probed(clip.work_s)
    clip, gain_db = _listened(job, path, clip)
    rss_mb, shown = [0.0], None
    targets = [Target(each, *target_size(clip, each), job.output(each)) for each in job.profiles if not each.is_bundle]
    if targets:
        taken_mb, shown = _make(job, path, clip, targets, gain_db)
        rss_mb.append(taken_mb)
    for profile in job.profiles:
        if profile.format == "storyboard":
            rss_mb.append(storyboard.make(job, path, clip, profile))
        elif profile.format == "hls":
            rss_mb.append(ladder.make(job, path, clip, profile, gain_db=gain_db))
    if job.stage.primary and all(target.profile.format != "jpeg" for target in targets):
        with job.timings.step("placeholder"):
            taken_mb, shown = _without_poster(job, path, clip)
        rss_mb.append(taken_mb)
    return Outcome(
        kind="video",
        format=video_format,
        width=clip.width,
        height=clip.height,
        duration_s=clip.duration_s,
        helper_rss_mb=max(rss_mb),
        details=_details(clip, video_format, shown),
    )


def _details(clip: Clip, video_format: str, shown: Placeholder | None) -> Details:
    return Details(
        format=video_format,
        thumbhash=shown and shown.thumbhash,
        dominant_color=shown and shown.dominant_color,
        fps=round(clip.fps, 3) or None,
        hdr=clip.hdr,
        has_audio=clip.audio is not None,
        channels=clip.channels if clip.audio is not None else None,
    )


def _without_poster(job: Job, path: Path, clip: Clip) -> tuple[float, Placeholder | None]:
    """As `_make`, of a placeholder alone: an earlier attempt may have made the poster, or nobody wants one.

    Of the same moment as a poster would be, so that both show the same; an ornament is not worth a long search.
    """
    like = CATALOGUE["poster"]
    target = Target(like, *target_size(clip, like), job.workdir / "placeholder.jpg")
    moments = (poster_at(clip.duration_s), (clip.duration_s or 0.0) / 4)
    rss_mb = poster.ensure(path, clip, target, moments=moments, wall_s=_ORNAMENT_S)
    return rss_mb, poster.placeholder(target)


def _listened(job: Job, path: Path, clip: Clip) -> tuple[Clip, float]:
    """The gain in dB that brings the sound to its loudness; a track without a sample is taken for none."""
    wanted = next((profile.loudness for profile in job.profiles if profile.loudness is not None), None)
    if clip.audio is None or wanted is None:
        return clip, 0.0
    with job.timings.step("loudness"):
        options = input_options(clip.demuxer)
        heard = loudness.measure(path, options, clip.audio, clip.channels, max_seconds=job.settings.max_video_seconds)
    if heard is None:
        return replace(clip, audio=None, held_s=0.0), 0.0
    return clip, loudness.gain_db(heard, wanted)


def _make(
    job: Job, path: Path, clip: Clip, targets: Sequence[Target], gain_db: float
) -> tuple[float, Placeholder | None]:
    """Make and announce all targets; returns the peak memory of what was run, MiB, and a poster's placeholder."""
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
    rss_mb, shown = [ran.rss_mb], listener.shown
    with job.timings.step("check"):
        for target in (each for each in targets if each not in listener.announced):
            if target.profile.format == "jpeg":
                rss_mb.append(poster.ensure(path, clip, target))
                if not target.path.is_file():
                    raise MediaError(ErrorCode.CORRUPT, "No frame of the video can be decoded.")
                shown = _finish_poster(job, target)
            else:
                _finish(job, target)
    return max(rss_mb), shown


class Listener(Progress):
    """Hears ffmpeg's `-progress`, and announces a poster while the rest is still being made."""

    def __init__(self, job: Job, clip: Clip, targets: Sequence[Target]) -> None:
        super().__init__(job, clip.duration_s)
        self.announced: list[Target] = []
        self.shown: Placeholder | None = None
        self._posters = [target for target in targets if target.profile.format == "jpeg"]

    def hear(self, line: str) -> bool:
        """Take one line; true at the end of a block of them."""
        if not super().hear(line):
            return False
        for target in [target for target in self._posters if poster.is_good(target.path)]:
            self._posters.remove(target)
            self.shown = _finish_poster(self._job, target)
            self.announced.append(target)
        return True


def _finish_poster(job: Job, target: Target) -> Placeholder | None:
    """Announce a poster; returns its placeholder. A file that was announced is the worker's."""
    shown = poster.placeholder(target)
    job.finish(target.profile, target.width, target.height)
    return shown


def _finish(job: Job, target: Target) -> None:
    """Check a written clip and announce it."""
    try:
        movie = boxes.read_movie(target.path)
    except (ValueError, OSError) as error:
        # ffmpeg is content with a source of which no frame decodes, and writes a file without any.
        raise MediaError(ErrorCode.CORRUPT, f"No frame of the video can be decoded: {error}.") from error
    job.finish(target.profile, movie.width, movie.height, round(movie.duration_s, 3))
