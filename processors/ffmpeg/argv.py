"""What every ffmpeg run of ours has in common."""

from typing import Any

import ffmpeg

COMMON = {"map_metadata": -1, "map_chapters": -1, "flags": "+bitexact", "fflags": "+bitexact"}
"""For every output: no metadata of the source's, no words of the encoder's."""

AAC = {"acodec": "aac", "audio_bitrate": "128k", "ac": 2, "ar": 48000}


def command(outputs: Any, *more: str) -> list[str]:
    """The argv of a graph's outputs: quiet, and never asking."""
    outputs = outputs.global_args("-nostdin", "-hide_banner", "-loglevel", "error", *more)
    return [str(part) for part in ffmpeg.compile(outputs, overwrite_output=True)]
