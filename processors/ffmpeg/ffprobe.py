"""One question to ffprobe about a file, within bounds; what may be opened and decoded is the caller's to say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from processors.ffmpeg import helper

_CPU_S, _WALL_S = 20.0, 60.0


def ask(path: Path, input_options: Mapping[str, str]) -> dict[str, Any]:
    """Ffprobe's JSON about format and streams. Raises `MediaError`, permanent unless ffprobe itself died."""
    options = [part for name, value in input_options.items() for part in (f"-{name}", value)]
    argv = ["ffprobe", "-v", "error", "-print_format", "json", "-show_format", "-show_streams", *options]
    found = helper.run([*argv, "-i", f"file:{path}"], reads=path, cpu_s=_CPU_S, wall_s=_WALL_S)
    answer: dict[str, Any] = msgspec.json.decode(found.output)
    return answer
