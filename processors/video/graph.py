"""The ffmpeg graph: every variant of a video from one decode, scaled down step by step, as one argv (ffmpeg-python)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ffmpeg

from processors.ffmpeg.argv import AAC, COMMON, command
from processors.ffmpeg.soundtrack import heard
from processors.video.probe import Clip, input_options
from schemas.profiles import Profile

POSTER_AT_S = 2.0
_POSTER_WINDOW_S = 1.0
_POSTER_CANDIDATES = 24
KEYFRAMES = "expr:gte(t,n_forced*2)"
"""A key frame every two seconds of time, whatever the frame rate does."""
# In candelas per square metre: the white of ordinary pictures in an HDR one, and what is shown as the brightest.
_WHITE, _BRIGHTEST = 203, 1000
# BT.2020 PQ or HLG down to BT.709, after scaling, since it works in 32-bit floats. The curve is that of HDR pictures,
# see docs/decisions/0026.
_TONEMAP: tuple[tuple[str, dict[str, Any]], ...] = (
    ("zscale", {"t": "linear", "npl": _WHITE}),
    ("format", {"pix_fmts": "gbrpf32le"}),
    ("zscale", {"p": "bt709"}),
    ("tonemap", {"tonemap": "mobius", "param": 0.5, "peak": round(_BRIGHTEST / _WHITE, 3), "desat": 0}),
    ("zscale", {"t": "bt709", "m": "bt709", "r": "tv"}),
)
_NARROWED = {"p": "bt709", "t": "bt709", "m": "bt709", "r": "tv"}
_TAGS = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709"}


class Target(NamedTuple):
    """A profile with the even size in pixels that it gets, and the file that it goes to."""

    profile: Profile
    width: int
    height: int
    path: Path


def target_size(clip: Clip, profile: Profile) -> tuple[int, int]:
    """The size of a profile: fitted to its width or height, never above the source, both sides even."""
    across = (profile.width or clip.width) / clip.width
    down = (profile.height or clip.height) / clip.height
    factor = min(1.0, {"width": across, "height": down, "crop": max(across, down)}[profile.fit])
    return even(clip.width * factor, clip.width), even(clip.height * factor, clip.height)


def poster_at(duration_s: float | None) -> float:
    """Where to look for a poster, seconds: past fades and title cards, yet inside the shortest clip."""
    return min(POSTER_AT_S, duration_s / 2) if duration_s else 0.0


def compile_run(
    source: Path, clip: Clip, targets: Sequence[Target], *, threads: int, max_seconds: float, gain_db: float = 0.0
) -> list[str]:
    """The argv of the one run that makes all targets; sound is amplified by `gain_db`."""
    read = ffmpeg.input(f"file:{source}", **input_options(clip.demuxer), threads=threads, t=max_seconds)
    outputs: list[Any] = []
    origins = _origins(clip, targets)

    def grow(stream: Any, parent: Target | None) -> None:
        """Write the parent's output and derive those that are scaled from it."""
        children = [target for target, origin in origins.items() if origin is parent]
        uses = len(children) + (parent is not None)
        parts: Any = stream.filter_multi_output("split", uses) if uses > 1 else [stream]
        for place, child in enumerate(children):
            grow(_derived(parts[place], clip, child, from_source=parent is None), child)
        if parent:
            track = _sound(read, clip, parent, gain_db)
            outputs.append(_output(parts[len(children)], track, parent, threads))

    grow(prepared(read[str(clip.video)], clip), None)
    merged = ffmpeg.merge_outputs(*outputs) if len(outputs) > 1 else outputs[0]
    return command(merged, "-progress", "pipe:1")


def _origins(clip: Clip, targets: Sequence[Target]) -> dict[Target, Target | None]:
    """What each target is scaled from: the smallest other that is at least as large and as long; None is the source."""
    ordered = sorted(targets, key=lambda target: (target.width * target.height, _span(clip, target)[1]), reverse=True)
    origins: dict[Target, Target | None] = {}
    for target in ordered:
        begin, end = _span(clip, target)
        fitting = [
            other
            for other in origins
            if other.width >= target.width
            and other.height >= target.height
            and other.profile.format != "jpeg"
            and _span(clip, other)[0] <= begin
            and _span(clip, other)[1] >= end
        ]
        origins[target] = fitting[-1] if fitting else None
    return origins


def _span(clip: Clip, target: Target) -> tuple[float, float]:
    """The seconds of the source that a target shows."""
    if target.profile.format == "jpeg":
        begin = poster_at(clip.duration_s)
        return begin, begin + _POSTER_WINDOW_S
    return 0.0, target.profile.max_seconds or float("inf")


def prepared(stream: Any, clip: Clip) -> Any:
    """The decoded frames as every variant wants them: whole pictures, at a constant rate, from the beginning on.

    Durations of frames that come and go are lost on the way to a file; the first one shows until the second comes, as
    the sound's beginning has to be heard.
    """
    if clip.interlaced:
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    stream = stream.filter("fps", str(clip.rate), start_time=0)
    if clip.held_s:  # hls.js does not even begin with a picture of a second and minutes of music
        stream = stream.filter("tpad", stop_mode="clone", stop_duration=round(clip.held_s, 3))
    return stream


def _derived(stream: Any, clip: Clip, target: Target, *, from_source: bool) -> Any:
    """A target's part of the time, at its size, as 8-bit BT.709 with square pixels."""
    begin, end = _span(clip, target)
    if end != float("inf"):
        stream = stream.filter("trim", start=begin, end=end).filter("setpts", "PTS-STARTPTS")
    return scaled(stream, clip, target.width, target.height, from_source=from_source)


def scaled(stream: Any, clip: Clip, width: int, height: int, *, from_source: bool) -> Any:
    """Frames of a size, as 8-bit BT.709 with square pixels.

    It is written into them: what nobody tells, players guess by the size, and then by each rung's.
    """
    if not from_source:
        return stream.filter("scale", width, height).filter("setsar", 1)
    if clip.assumed:  # zscale knows no way from colours that nobody told, and scale takes all of them for BT.601
        stream = stream.filter("setparams", **dict(clip.assumed))
    if clip.hdr or clip.wide:
        stream = stream.filter("scale", width, height)
        for name, options in _TONEMAP if clip.hdr else (("zscale", _NARROWED),):
            stream = stream.filter(name, **options)
    else:
        stream = stream.filter("scale", width, height, out_color_matrix="bt709", out_range="tv")
    return stream.filter("setsar", 1).filter("format", "yuv420p").filter("setparams", **_TAGS)


def as_jpeg(stream: Any) -> Any:
    """Frames as JPEG has them, which is always read as BT.601 in full range."""
    return stream.filter("scale", out_color_matrix="bt601", out_range="pc").filter("format", "yuvj420p")


def sound(read: Any, stream: int, channels: int, gain_db: float) -> Any:
    """A film's soundtrack, made louder or quieter, with silence where there is none: before it begins and in gaps."""
    track = heard(read, stream, channels)
    if gain_db:
        track = track.filter("volume", f"{gain_db}dB")
    return track.filter("aresample", **{"async": 1, "first_pts": 0})


def _sound(read: Any, clip: Clip, target: Target, gain_db: float) -> Any:
    if clip.audio is None or not target.profile.audio or target.profile.format != "mp4":
        return None
    return sound(read, clip.audio, clip.channels, gain_db)


def _output(stream: Any, track: Any, target: Target, threads: int) -> Any:
    if target.profile.format == "jpeg":
        # Of a second's worth of frames, the one nearest to their average: neither a flash nor a fade.
        frame = as_jpeg(stream.filter("thumbnail", _POSTER_CANDIDATES))
        return ffmpeg.output(frame, str(target.path), f="image2", update=1, vframes=1, **{"q:v": 3}, **COMMON)
    video = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": target.profile.quality or 23,
        "force_key_frames": KEYFRAMES,
        "movflags": "+faststart",
        "f": "mp4",
        "threads": threads,
    }
    if track is not None:
        return ffmpeg.output(stream, track, str(target.path), **video, **AAC, **COMMON)
    return ffmpeg.output(stream, str(target.path), **video, **COMMON)


def even(side: float, source: int) -> int:
    """The nearest even number that is not above the source (4:2:0 video has no odd sides), and at least 2."""
    return max(2, min(int(side / 2 + 0.5) * 2, source // 2 * 2))
