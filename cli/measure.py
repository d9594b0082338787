"""What a file is when one opens it: format by magic bytes, size in pixels by decoding, and whether there is a picture.

Done with ffmpeg in a process of its own, which shares no code and no header parsing with what made the variants.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

A = TypeVar("A")
B = TypeVar("B")

_DARK = bytes(range(25))
"""The values of luma (0 to 255) that count as black."""


class UnreadableError(Exception):
    """The bytes are of no known format or do not decode."""


class Measured(NamedTuple):
    """Decoded facts: pixels, seconds (0 for a still), whether there is sound, and the share of pixels above black."""

    format: str
    width: int
    height: int
    duration_s: float
    sound: bool
    bright: float

    @property
    def black(self) -> bool:
        """Whether less than one pixel in a hundred is brighter than black."""
        return self.bright < 0.01


def format_of(content: bytes) -> str:
    """webp, jpeg or mp4, by magic bytes. Raises `UnreadableError`."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if content[4:8] == b"ftyp":
        return "mp4"
    raise UnreadableError(f"no WebP, JPEG or MP4: begins with {content[:12]!r}")


async def measure(content: bytes) -> Measured:
    """Decode a variant's first picture and probe the rest. Raises `UnreadableError`."""
    kind = format_of(content)
    with tempfile.TemporaryDirectory(prefix="medialane-") as folder:
        path = Path(folder) / f"variant.{kind}"
        await asyncio.to_thread(path.write_bytes, content)
        probe, luma = await _both(_probe(path), _first_picture(path))
    streams = {stream["codec_type"]: stream for stream in probe["streams"]}
    if "video" not in streams:
        raise UnreadableError("there is no picture in it")
    width, height = int(streams["video"]["width"]), int(streams["video"]["height"])
    if len(luma) != width * height:
        raise UnreadableError(f"says {width}x{height}, but decodes to {len(luma)} pixels")
    bright = len(luma.translate(None, delete=_DARK)) / len(luma)
    duration = float(probe["format"].get("duration", 0)) if kind == "mp4" else 0.0
    return Measured(kind, width, height, duration, "audio" in streams, bright)


async def _both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """As gather, but a failure of one is raised when the other has ended, too: no program is left behind."""
    one, two = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(two, BaseException):
        raise two
    return one, two


async def _probe(path: Path) -> dict[str, Any]:
    output = await _run("ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path))
    found: dict[str, Any] = json.loads(output)
    return found


async def _first_picture(path: Path) -> bytes:
    only = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    return await _run("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), *only)


async def _run(*command: str) -> bytes:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaint = await child.communicate()
    if child.returncode != 0:
        raise UnreadableError(f"{command[0]}: {complaint.decode(errors='replace').strip()[-300:]}")
    return output
