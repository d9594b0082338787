"""What an audio file is: one ffprobe run under white lists of its own, checked against the caps before decoding."""

from pathlib import Path
from typing import Any

import msgspec

from processors.contract import MediaError
from processors.ffmpeg import ffprobe
from processors.ffmpeg.soundtrack import MOST_CHANNELS
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

DEMUXERS = {"m4a": "mov", "wav": "wav", "flac": "flac", "ogg": "ogg", "mp3": "mp3", "aac": "aac"}
# No demuxer here opens other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,wav,flac,ogg,mp3,aac"
_CODECS = (
    "aac,mp3,mp3float,opus,libopus,vorbis,flac,alac,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f64le,pcm_u8,pcm_alaw,pcm_mulaw"
)
_MAX_STREAMS = 32
_MAX_RATE_HZ = 768_000


class Track(msgspec.Struct, frozen=True):
    """A probed audio file: duration in seconds, None if unknown; `stream` is the index of its sound."""

    demuxer: str
    duration_s: float | None
    stream: int
    channels: int


def input_options(demuxer: str) -> dict[str, str]:
    """The options that must stand before every input of ffmpeg and ffprobe."""
    return {
        "f": demuxer,
        "protocol_whitelist": "file,pipe",
        "format_whitelist": _FORMATS,
        "codec_whitelist": _CODECS,
    }


def probe(path: Path, audio_format: str, settings: ProcessorSettings) -> Track:
    """Ask ffprobe once and check the caps. Raises `MediaError`, permanent unless ffprobe itself died."""
    demuxer = DEMUXERS[audio_format]
    return read(ffprobe.ask(path, input_options(demuxer)), demuxer, settings)


def read(found: dict[str, Any], demuxer: str, settings: ProcessorSettings) -> Track:
    """Ffprobe's JSON as a `Track`, within the caps."""
    streams: list[dict[str, Any]] = found.get("streams", [])
    if len(streams) > _MAX_STREAMS:
        raise MediaError(ErrorCode.LIMIT_EXCEEDED, f"{len(streams)} streams; allowed are {_MAX_STREAMS}.")
    sound = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if sound is None:
        raise MediaError(ErrorCode.NO_AUDIO_STREAM)
    codec, channels = sound.get("codec_name", "unknown"), int(sound.get("channels", 0))
    if codec not in _CODECS.split(","):
        raise MediaError(ErrorCode.UNSUPPORTED_FORMAT, f"Sound in {codec} is not processed.")
    if not channels:
        raise MediaError(ErrorCode.CORRUPT, "The sound has no channels.")
    rate = int(sound.get("sample_rate") or 0)
    if channels > MOST_CHANNELS or rate > _MAX_RATE_HZ:
        raise MediaError(ErrorCode.LIMIT_EXCEEDED, f"{channels} channels at {rate} Hz are more than is processed.")
    duration = _seconds(found.get("format", {}).get("duration")) or _seconds(sound.get("duration"))
    ffprobe.check_length(duration, settings)
    return Track(demuxer, duration, int(sound["index"]), channels)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 else None
