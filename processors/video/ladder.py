"""The HLS ladder: every rung from one decode in one ffmpeg run, each rung one fragmented MP4 that its playlist cuts up.

Playlists address segments by byte range: a ladder is a dozen objects however long the film, and none of them can
belong to another attempt than the playlist that names it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ffmpeg
import msgspec

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.ffmpeg.argv import AAC, COMMON, command
from processors.ffmpeg.progress import Progress
from processors.job import Job, longest_s
from processors.video import playlists
from processors.video.graph import KEYFRAMES, even, prepared, scaled, sound
from processors.video.probe import Clip, input_options
from schemas.errors import ErrorCode
from schemas.profiles import Profile, Rung

_SEGMENT_S = 6
_FFMPEGS_MASTER = "ffmpegs.m3u8"
_OF_THE_CAP = 0.8  # of what one file may hold, for the average of a long film's best rung


class Step(msgspec.Struct, frozen=True):
    """A rung with the even size in pixels that it gets."""

    rung: Rung
    width: int
    height: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{min(self.width, self.height)}p"


def steps(clip: Clip, profile: Profile) -> tuple[Step, ...]:
    """The rungs that are not above the source, largest first; for a source below all of them one of its own size."""
    short = min(clip.width, clip.height)
    fitting = [rung for rung in profile.rungs if rung.side <= short] or [profile.rungs[-1]]
    made = []
    for rung in fitting:
        factor = min(1.0, rung.side / short)
        made.append(Step(rung, even(clip.width * factor, clip.width), even(clip.height * factor, clip.height)))
    return tuple(made)


def make(job: Job, source: Path, clip: Clip, profile: Profile, *, gain_db: float) -> float:
    """Make and announce the ladder; returns the peak memory of what was run, MiB. Raises `MediaError`."""
    folder, limit = job.output(profile).parent, longest_s(job.settings, clip.work_s)
    folder.mkdir()
    rungs = steps(clip, profile)
    argv = compile_run(source, clip, rungs, folder, job, gain_db=gain_db)
    with job.timings.step("ladder"):
        ran = helper.run(
            argv,
            reads=source,
            writes=job.workdir,
            cpu_s=limit * job.threads,
            wall_s=limit,
            disk_bytes=job.settings.max_temp_bytes,
            on_line=Progress(job, clip.duration_s).hear,
        )
    try:
        seconds = _write_master(job.output(profile), clip, rungs)
    except ValueError as error:
        raise MediaError(ErrorCode.CORRUPT, f"No frame of the video can be decoded: {error}.") from error
    names = [step.name for step in rungs] + (["audio"] if clip.audio is not None else [])
    parts = [f"{name}.mp4" for name in names] + [f"{name}.m3u8" for name in names]
    job.finish(profile, rungs[0].width, rungs[0].height, round(seconds, 3), parts)
    return ran.rss_mb


def compile_run(
    source: Path, clip: Clip, rungs: Sequence[Step], folder: Path, job: Job, *, gain_db: float
) -> list[str]:
    """The argv of the one run: decoded once, scaled down step by step, key frames at the same times in every rung."""
    longest = job.settings.max_video_seconds
    read = ffmpeg.input(f"file:{source}", **input_options(clip.demuxer), threads=job.threads, t=longest)
    streams: list[Any] = []
    at = prepared(read[str(clip.video)], clip)
    for place, step in enumerate(rungs):
        at = scaled(at, clip, step.width, step.height, from_source=place == 0)
        if place < len(rungs) - 1:
            halves = at.filter_multi_output("split", 2)
            streams.append(halves[0])
            at = halves[1]
    streams.append(at)
    options: dict[str, Any] = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "force_key_frames": KEYFRAMES,
        "sc_threshold": 0,
        "fps_mode": "vfr",
        "threads": job.threads,
    }
    ceiling = _ceiling_kbps(clip, job.settings.max_output_bytes)
    for place, step in enumerate(rungs):
        kbps = min(step.rung.max_kbps, ceiling)
        options[f"crf:v:{place}"] = step.rung.quality
        options |= {f"maxrate:v:{place}": f"{kbps}k", f"bufsize:v:{place}": f"{2 * kbps}k"}
    if clip.audio is not None:
        streams.append(sound(read, clip.audio, clip.channels, gain_db))
        options |= AAC
    out = ffmpeg.output(*streams, str(folder / "%v.m3u8"), **options, **_muxing(clip, rungs, folder), **COMMON)
    return command(out, "-progress", "pipe:1")


def _muxing(clip: Clip, rungs: Sequence[Step], folder: Path) -> dict[str, Any]:
    group = ",agroup:audio" if clip.audio is not None else ""
    names = [f"v:{place}{group},name:{step.name}" for place, step in enumerate(rungs)]
    if clip.audio is not None:
        names.append("a:0,agroup:audio,name:audio,default:yes")
    return {
        "f": "hls",
        "hls_time": _SEGMENT_S,
        "hls_playlist_type": "vod",
        "hls_segment_type": "fmp4",
        "hls_flags": "single_file+independent_segments",
        "hls_segment_filename": str(folder / "%v.mp4"),
        # Players by Media Source read no edit lists: the delay of reordered frames would put pictures behind the sound.
        "hls_segment_options": "movflags=+negative_cts_offsets",
        "avoid_negative_ts": "disabled",
        "master_pl_name": _FFMPEGS_MASTER,
        "var_stream_map": " ".join(names),
    }


def _ceiling_kbps(clip: Clip, max_bytes: int) -> int:
    """What a rung of a very long film may take, so that its one file stays within what a file may hold."""
    return max(100, int(max_bytes * 8 * _OF_THE_CAP / clip.duration_s / 1000)) if clip.duration_s else 1_000_000


def _write_master(path: Path, clip: Clip, rungs: Sequence[Step]) -> float:
    """Write the master playlist beside what it names; returns the ladder's length in seconds."""
    theirs = path.with_name(_FFMPEGS_MASTER)
    codecs = playlists.codecs_of(playlists.read_file(theirs))
    theirs.unlink()

    def media(name: str) -> playlists.Media:
        return playlists.read_media(playlists.read_file(path.with_name(f"{name}.m3u8")))

    streams = [playlists.Stream(step.name, step.width, step.height, media(step.name)) for step in rungs]
    audio = media("audio") if clip.audio is not None else None
    text = playlists.master(streams, codecs, fps=float(clip.rate), audio=audio)
    path.write_text(text, encoding="utf-8")
    return streams[0].media.duration_s
