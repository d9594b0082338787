"""The storyboard: small pictures of the film in one sprite, and a WebVTT that says which is of when.

Only key frames are decoded, a fifth of what a full decode costs; a picture's time is therefore that of its key frame.
Where they are too few (one for a whole short clip, or cut off by an edit list), every frame is.
"""

from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import pyvips

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.ffmpeg.argv import COMMON, command
from processors.job import Job, longest_s
from processors.video.graph import as_jpeg, even, scaled
from processors.video.probe import Clip, input_options
from schemas.errors import ErrorCode
from schemas.profiles import Profile

_TILES, _TILES_OF_A_LONG_ONE, _LONG_S = 50, 100, 900.0
_LEAST_STEP_S = 1.0
_FEW = 10
_ACROSS = 10
_SPRITE = "storyboard.jpg"
_TIME = "pts_time:"


def make(job: Job, source: Path, clip: Clip, profile: Profile) -> float:
    """Make and announce the storyboard; returns the peak memory of what was run, MiB. Raises `MediaError`."""
    vtt = job.output(profile)
    folder = vtt.parent
    folder.mkdir()
    width, height = tile_size(clip, profile)
    with job.timings.step("storyboard"):
        times, rss_mb = _drawn(job, source, clip, (width, height), folder, only_key_frames=True)
        if len(times) < (clip.duration_s or 0.0) / step_s(clip.duration_s) / 2 and len(times) < _FEW:
            times, more_mb = _drawn(job, source, clip, (width, height), folder, only_key_frames=False)
            rss_mb = max(rss_mb, more_mb)
        tiles = sorted(folder.glob("tile-*.jpg"))[: len(times)]
        if not tiles:
            raise MediaError(ErrorCode.CORRUPT, "No frame of the video can be decoded.")
        _join(tiles, folder / _SPRITE, profile.quality or 70)
    vtt.write_text(cues(times[: len(tiles)], clip.duration_s, width, height), encoding="utf-8")
    rows = -(-len(tiles) // _ACROSS)
    job.finish(profile, width * min(len(tiles), _ACROSS), height * rows, clip.duration_s, [_SPRITE])
    return rss_mb


def _drawn(
    job: Job, source: Path, clip: Clip, size: tuple[int, int], folder: Path, *, only_key_frames: bool
) -> tuple[list[float], float]:
    """Write the pictures, over those of an earlier run; returns the seconds at which they come, and the peak memory of
    what was run, MiB. Raises `MediaError`.
    """
    times: list[float] = []

    def hear(line: str) -> None:
        _, found, rest = line.partition(_TIME)
        if found:
            times.append(float(rest.split()[0]))

    limit = longest_s(job.settings, clip.work_s)
    ran = helper.run(
        compile_run(source, clip, size, folder, job, only_key_frames=only_key_frames),
        reads=source, writes=job.workdir, cpu_s=limit, wall_s=limit,
        disk_bytes=job.settings.max_temp_bytes, on_line=hear,
    )  # fmt: skip
    return times, ran.rss_mb


def tile_size(clip: Clip, profile: Profile) -> tuple[int, int]:
    """The size of one picture: its longer side is the profile's width, or the source's if that is smaller."""
    factor = min(1.0, (profile.width or 192) / max(clip.width, clip.height))
    return even(clip.width * factor, clip.width), even(clip.height * factor, clip.height)


def step_s(duration_s: float | None) -> float:
    """The least time between two pictures, seconds: fifty in a film, a hundred in one of more than a quarter hour."""
    if not duration_s:
        return _LEAST_STEP_S
    return max(_LEAST_STEP_S, duration_s / (_TILES if duration_s < _LONG_S else _TILES_OF_A_LONG_ONE))


def compile_run(
    source: Path, clip: Clip, size: tuple[int, int], folder: Path, job: Job, *, only_key_frames: bool = True
) -> list[str]:
    """The argv: pictures as numbered files, their times on standard output. A full decode is there to be measured."""
    skip = {"skip_frame": "nokey"} if only_key_frames else {}
    longest, step = job.settings.max_video_seconds, step_s(clip.duration_s)
    read = ffmpeg.input(f"file:{source}", **input_options(clip.demuxer), **skip, threads=job.threads, t=longest)
    # A little less than the step, or a film whose key frames lie exactly one apart would lose every other.
    chosen = read[str(clip.video)].filter("select", f"isnan(prev_selected_t)+gte(t-prev_selected_t,{step - 0.01:.3f})")
    small = as_jpeg(scaled(chosen, clip, *size, from_source=True))
    # Only frames with some metadata are printed.
    told = small.filter("metadata", mode="add", key="tile", value="1").filter("metadata", mode="print", file="-")
    out = ffmpeg.output(
        told, str(folder / "tile-%04d.jpg"), f="image2", fps_mode="passthrough",
        vframes=2 * _TILES_OF_A_LONG_ONE, **{"q:v": 3}, **COMMON,
    )  # fmt: skip
    # Without the frames between them, a few damaged key frames are nearly all that there is, and no reason to give up.
    return command(out, "-max_error_rate", "1")


def cues(times: Sequence[float], duration_s: float | None, width: int, height: int) -> str:
    """The WebVTT: each picture stands until the next one's time, the first from the beginning."""
    ends = [*times[1:], max(duration_s or 0.0, times[-1] + _LEAST_STEP_S)]
    lines = ["WEBVTT"]
    for place, end in enumerate(ends):
        begin = times[place] if place else 0.0
        x, y = place % _ACROSS * width, place // _ACROSS * height
        lines += ["", f"{_clock(begin)} --> {_clock(end)}", f"{_SPRITE}#xywh={x},{y},{width},{height}"]
    return "\n".join(lines) + "\n"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds) * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _join(tiles: Sequence[Path], to: Path, quality: int) -> None:
    # Read whole: libvips would answer for the same path from its cache.
    pictures = [pyvips.Image.new_from_buffer(tile.read_bytes(), "") for tile in tiles]
    pyvips.Image.arrayjoin(pictures, across=min(len(pictures), _ACROSS)).jpegsave(str(to), Q=quality, keep="none")
    for tile in tiles:
        tile.unlink()
