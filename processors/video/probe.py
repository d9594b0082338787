"""What a video is: one ffprobe run under white lists, checked against the caps before anything is decoded."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from processors.contract import MediaError
from processors.ffmpeg import ffprobe
from processors.ffmpeg.soundtrack import MOST_CHANNELS
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

DEMUXERS = {"mp4": "mov", "mov": "mov", "mkv": "matroska", "webm": "matroska", "avi": "avi"}
# A playlist or concat script under a media name could open other files: no such demuxer and no network protocol here.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
_VIDEO_CODECS = "h264,hevc,vp8,vp9,av1,mpeg4,msmpeg4v2,msmpeg4v3,h263,mpeg1video,mpeg2video,mjpeg,prores,dvvideo,theora"
_AUDIO_CODECS = (
    "aac,mp3,mp3float,mp2,opus,vorbis,flac,alac,ac3,eac3,amr_nb,amr_wb,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,"
    "pcm_f32le,pcm_u8,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav"
)
# What decoders of these are called where that is not the codec's name.
_DECODERS = "libdav1d,libaom-av1,libvpx,libvpx-vp9,msmpeg4,libopus,amrnb,amrwb"
_MAX_STREAMS = 32
_MAX_FPS = 1000
SHOWN_FPS = 60
"""The most frames a second of any variant: slow motion plays at what screens show."""
_USUAL_FPS = 30
_NOTICED_S = 0.5
_SMOOTH_FPS = 23  # films have no more
_USUAL_PIXELS_PER_S = 1920 * 1080 * 30
_HDR_TRANSFERS = frozenset({"smpte2084", "arib-std-b67"})
# What HDR is taken for where a file tells its curve alone, by ffprobe's names and by those of ffmpeg's `setparams`.
_HDR_COLOURS = {"color_primaries": ("color_primaries", "bt2020"), "color_space": ("colorspace", "bt2020nc")}
_WIDE = frozenset({"bt2020", "smpte431", "smpte432"})
_UNKNOWN = frozenset({"unknown", "reserved"})
_SD_WIDTH, _SD_HEIGHT = 1024, 576
_INTERLACED = frozenset({"tt", "bb", "tb", "bt"})


class Clip(msgspec.Struct, frozen=True):
    """A probed video. Width and height in square pixels as shown (upright); duration in seconds, None if unknown.

    `video` and `audio` are stream indexes; `audio` is None for a silent one, or its track has so many `channels`.
    `rate` is the constant number of frames a second that variants get. `wide` colours are beyond BT.709's, though SDR.
    `held_s` is for how many seconds sound goes on after the last picture, which stays.
    `assumed` is what it does not tell of its colours, as options of ffmpeg's `setparams`.
    """

    demuxer: str
    width: int
    height: int
    duration_s: float | None
    fps: float
    video: int
    audio: int | None
    hdr: bool
    interlaced: bool
    assumed: tuple[tuple[str, str], ...] = ()
    channels: int = 2
    rate: Fraction = Fraction(_USUAL_FPS)
    held_s: float = 0.0
    wide: bool = False

    @property
    def work_s(self) -> float:
        """How long it is in seconds of 1080p of 30 frames each, by what it takes; a smaller one counts like them."""
        frames = self.fps and max(self.fps, float(self.rate))
        heavier = self.width * self.height * frames / _USUAL_PIXELS_PER_S
        return (self.duration_s or 0.0) * max(1.0, heavier)


def input_options(demuxer: str) -> dict[str, str]:
    """The options that must stand before every input of ffmpeg and ffprobe."""
    return {
        "f": demuxer,
        "protocol_whitelist": "file,pipe",
        "format_whitelist": _FORMATS,
        "codec_whitelist": f"{_VIDEO_CODECS},{_AUDIO_CODECS},{_DECODERS}",
    }


def probe(path: Path, video_format: str, settings: ProcessorSettings) -> Clip:
    """Ask ffprobe once and check the caps. Raises `MediaError`, permanent unless ffprobe itself died."""
    demuxer = DEMUXERS[video_format]
    return read(ffprobe.ask(path, input_options(demuxer)), demuxer, settings)


def read(found: dict[str, Any], demuxer: str, settings: ProcessorSettings) -> Clip:
    """Ffprobe's JSON as a `Clip`, within the caps."""
    streams: list[dict[str, Any]] = found.get("streams", [])
    if len(streams) > _MAX_STREAMS:
        raise MediaError(ErrorCode.LIMIT_EXCEEDED, f"{len(streams)} streams; allowed are {_MAX_STREAMS}.")
    videos = [s for s in streams if s.get("codec_type") == "video" and not _is_cover(s)]
    if not videos:
        raise MediaError(ErrorCode.NO_VIDEO_STREAM)
    video = next((s for s in videos if s.get("width")), None)
    if video is None:
        raise MediaError(ErrorCode.CORRUPT, "The video stream has no size.")
    _check_codec(video, _VIDEO_CODECS)
    audios = [s for s in streams if s.get("codec_type") == "audio" and _usable_audio(s)]
    audios.sort(key=lambda s: not s.get("disposition", {}).get("default"))  # what a player would play
    width, height = _shown_size(video)
    duration = _number(found.get("format", {}).get("duration")) or _number(video.get("duration"))
    hdr = video.get("color_transfer") in _HDR_TRANSFERS
    interlaced = video.get("field_order") in _INTERLACED or video.get("codec_name") == "dvvideo"  # AVI does not tell
    wide = not hdr and video.get("color_primaries") in _WIDE
    clip = Clip(
        demuxer=demuxer,
        width=width,
        height=height,
        duration_s=duration,
        fps=_ratio(video.get("avg_frame_rate")),
        video=video["index"],
        audio=audios[0]["index"] if audios else None,
        hdr=hdr,
        interlaced=interlaced,
        assumed=_assumed(video, hdr=hdr, wide=wide),
        channels=int(audios[0]["channels"]) if audios else 0,
        rate=steady_rate(video.get("avg_frame_rate"), video.get("r_frame_rate"), interlaced=interlaced),
        wide=wide,
        held_s=_held_s(video, audios[0], duration or 0.0) if audios else 0.0,
    )
    _check_limits(clip, video, settings)
    return clip


def _check_limits(clip: Clip, video: dict[str, Any], settings: ProcessorSettings) -> None:
    coded = max(video.get("width", 0), video.get("height", 0), clip.width, clip.height)
    if coded > settings.max_video_side:
        raise MediaError(
            ErrorCode.TOO_MANY_PIXELS, f"{clip.width} x {clip.height}; allowed are {settings.max_video_side} a side."
        )
    ffprobe.check_length(clip.duration_s, settings)
    if clip.fps > _MAX_FPS:
        raise MediaError(ErrorCode.TOO_MANY_FRAMES, f"{clip.fps:.0f} frames a second; allowed are {_MAX_FPS}.")
    check_work(clip, settings)


def check_work(clip: Clip, settings: ProcessorSettings) -> None:
    """Raises `MediaError` if pixels, frames and length together are too much, as each alone need not be.

    Skipped frames make a small file of hours of them. A film of the longest duration in 1080p at 30 is never too much.
    """
    allowed = max(settings.max_video_work_s, settings.max_video_seconds)
    if clip.work_s > allowed:
        raise MediaError(
            ErrorCode.LIMIT_EXCEEDED,
            f"{clip.width} x {clip.height} pixels at {clip.fps:.4g} frames a second for {clip.duration_s:.0f} s are as "
            f"much as {clip.work_s:.0f} s of 1920 x 1080 at 30; allowed are {allowed:.0f} s.",
        )


def _check_codec(stream: dict[str, Any], allowed: str) -> None:
    codec = stream.get("codec_name", "unknown")
    if codec not in allowed.split(","):
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"Videos in {codec} are not processed.")


def _usable_audio(stream: dict[str, Any]) -> bool:
    # An unknown soundtrack is left out rather than failing the picture.
    return stream.get("codec_name") in _AUDIO_CODECS.split(",") and 0 < int(stream.get("channels", 0)) <= MOST_CHANNELS


def _held_s(video: dict[str, Any], audio: dict[str, Any], duration_s: float) -> float:
    after = (_end_s(audio) or 0.0) - (_end_s(video) or float("inf"))
    return after if _NOTICED_S < after < duration_s else 0.0


def _end_s(stream: dict[str, Any]) -> float | None:
    """Where a stream ends, seconds; None if it does not tell."""
    told = str(stream.get("tags", {}).get("DURATION", ""))  # Matroska's; ffprobe makes up a length from the whole's
    if told.count(":") == 2:
        hours, minutes, seconds = (_number(part) or 0.0 for part in told.split(":"))
        return hours * 3600 + minutes * 60 + seconds or None
    length = _number(stream.get("duration"))
    return length + (_number(stream.get("start_time")) or 0.0) if length else None


def steady_rate(average: str | None, finest: str | None, *, interlaced: bool = False) -> Fraction:
    """The constant frame rate for a film, from its average one and from the finest that has all its frames, as ffprobe
    tells them.

    One that is steady, but for what its recorder dropped, keeps its own. One that comes and goes, such as a recorded
    screen, gets 30, or 60 if it is faster on average; the finest would be that of its clock's ticks.
    """
    mean, tick = _fraction(average), _fraction(finest)
    if not mean:
        return tick if 0 < tick <= SHOWN_FPS else Fraction(_USUAL_FPS)
    for times in (1, 2):
        # Twice as many ticks as frames: of an interlaced film its fields, of another a single frame out of place.
        if abs(tick / times / mean - 1) < 0.02 and (times == 1 or interlaced or mean >= _SMOOTH_FPS):
            own = tick / times
            return own / -(-own // SHOWN_FPS) if own <= 4 * SHOWN_FPS else Fraction(SHOWN_FPS)
    usual = Fraction(_USUAL_FPS if mean < 1.02 * _USUAL_FPS else SHOWN_FPS)
    return min(usual, tick) if tick else usual


def _assumed(video: dict[str, Any], *, hdr: bool, wide: bool) -> tuple[tuple[str, str], ...]:
    if video.get("pix_fmt", "").startswith(("rgb", "bgr", "gbr", "argb", "abgr", "pal")):
        return ()  # no matrix took part
    if hdr:
        taken = _HDR_COLOURS
    else:
        # As players do: old television's matrix up to its size, and above it that of HD.
        small = int(video["width"]) <= _SD_WIDTH and int(video["height"]) <= _SD_HEIGHT
        taken = {"color_space": ("colorspace", "smpte170m" if small else "bt709")}
        if wide:
            taken = {
                "color_space": ("colorspace", "bt2020nc" if video["color_primaries"] == "bt2020" else "bt709"),
                "color_transfer": ("color_trc", "bt709"),
            }
    return tuple(option for name, option in taken.items() if video.get(name, "unknown") in _UNKNOWN)


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _shown_size(video: dict[str, Any]) -> tuple[int, int]:
    """Width and height as shown: pixels made square, then rotated."""
    width, height = int(video["width"]), int(video["height"])
    aspect = _ratio(video.get("sample_aspect_ratio"), ":")
    if 0.1 < aspect < 10:
        width = max(1, round(width * aspect))
    turns = [data["rotation"] for data in video.get("side_data_list", ()) if "rotation" in data]
    return (height, width) if turns and round(float(turns[0]) / 90) % 2 else (width, height)


def _ratio(text: str | None, sign: str = "/") -> float:
    above, _, below = (text or "").partition(sign)
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0


def _fraction(text: str | None) -> Fraction:
    try:
        return Fraction(text or 0)
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 else None
