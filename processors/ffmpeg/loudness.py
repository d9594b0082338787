"""Loudness by EBU R128: measured first, then one gain for the whole length, so that dynamics stay as they were mixed.

ffmpeg's one-pass `loudnorm` would ride the volume and cost ten times as much.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import ffmpeg
import msgspec

from processors.ffmpeg import helper
from processors.ffmpeg.soundtrack import heard

_PEAK_DBFS = -1.5  # room for what lies between the samples
_MOST_GAIN_DB = 20.0
_SILENCE_LUFS = -69.0
_INTEGRATED = re.compile(r"\bI:\s+(-?[\d.]+|-inf|nan) LUFS")
_PEAK = re.compile(r"\bPeak:\s+(-?[\d.]+|-inf|nan) dBFS")
_NOTHING = " audio:0kB "
_CPU_S, _WALL_S = 600.0, 900.0


class Loudness(msgspec.Struct, frozen=True):
    """Integrated loudness in LUFS and the highest sample in dBFS."""

    integrated: float
    peak: float


def measure(
    source: Path, options: Mapping[str, str], stream: int, channels: int, *, max_seconds: float
) -> Loudness | None:
    """Decode one stream of a file, and nothing else of it; None if there is no sound in it. Raises `MediaError`."""
    read = ffmpeg.input(f"file:{source}", **options, vn=None, t=max_seconds)
    sound = heard(read, stream, channels).filter("ebur128", framelog="verbose", peak="sample")
    out = ffmpeg.output(sound, "-", f="null").global_args("-nostdin", "-hide_banner", "-nostats", "-loglevel", "info")
    ran = helper.run([str(part) for part in ffmpeg.compile(out)], reads=source, cpu_s=_CPU_S, wall_s=_WALL_S)
    return read_summary(ran.errors)


def read_summary(words: str) -> Loudness | None:
    """The filter's summary, as ffmpeg prints it at its end."""
    integrated, peak = _INTEGRATED.findall(words), _PEAK.findall(words)
    # A track that is announced and never comes looks like silence, but for the amount that was decoded.
    if not integrated or not peak or _NOTHING in words:
        return None
    return Loudness(float(integrated[-1]), float(peak[-1]))


def gain_db(measured: Loudness, target: float) -> float:
    """The gain to reach `target` LUFS as nearly as the peaks permit, in dB; none for silence."""
    if measured.integrated < _SILENCE_LUFS or measured.peak == float("-inf"):
        return 0.0
    return round(min(target - measured.integrated, _PEAK_DBFS - measured.peak, _MOST_GAIN_DB), 2)
