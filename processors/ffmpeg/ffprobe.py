"""One question to ffprobe about a file, within bounds; what may be opened and decoded is the caller's to say.

And what is checked of every answer: the length.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from processors.contract import MediaError
from processors.ffmpeg import helper
from schemas.errors import ErrorCode
from schemas.settings import ProcessorSettings

_CPU_S, _WALL_S = 20.0, 60.0
# ffprobe gives up on a file if it may not open the decoder of each of its streams, wanted or not: these it may open
# besides, and ffmpeg may not. Subtitles, covers, and sound that a film goes without.
_BESIDE = (
    "ass,ssa,srt,subrip,mov_text,text,webvtt,dvbsub,dvdsub,pgssub,xsub,cc_dec,mjpeg,png,bmp,gif,tiff,webp,"
    "aac_latm,dca,mlp,truehd,wmav1,wmav2,wmapro,wmalossless,wavpack,tta,speex,qdm2,qcelp,gsm,gsm_ms,g726,adpcm_ima_qt,"
    "pcm_s8,pcm_s16be,pcm_s24be,pcm_s32be,pcm_f32be,pcm_f64be,pcm_f64le,pcm_bluray,pcm_dvd"
)


def ask(path: Path, input_options: Mapping[str, str]) -> dict[str, Any]:
    """Ffprobe's JSON about format and streams. Raises `MediaError`, permanent unless ffprobe itself died."""
    allowed = {**input_options, "codec_whitelist": f"{input_options['codec_whitelist']},{_BESIDE}"}
    options = [part for name, value in allowed.items() for part in (f"-{name}", value)]
    argv = ["ffprobe", "-v", "error", "-print_format", "json", "-show_format", "-show_streams", *options]
    found = helper.run([*argv, "-i", f"file:{path}"], reads=path, cpu_s=_CPU_S, wall_s=_WALL_S)
    answer: dict[str, Any] = msgspec.json.decode(found.output)
    return answer


def check_length(duration_s: float | None, settings: ProcessorSettings) -> None:
    """Raises `MediaError` if it is known to be too long."""
    if duration_s is not None and duration_s > settings.max_video_seconds:
        raise MediaError(ErrorCode.TOO_LONG, f"{duration_s:.0f} s; allowed are {settings.max_video_seconds:.0f} s.")
