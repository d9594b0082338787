"""What a file is when one opens it: format by magic bytes, size in pixels by decoding, and whether there is a picture.

Done with ffmpeg in a process of its own, which shares no code and no header parsing with what made the variants; AVIF,
which not every ffmpeg opens, with Pillow's own decoder.
"""

import asyncio
import io
import json
import tempfile
from collections.abc import Awaitable, Mapping
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
    """webp, jpeg, avif, mp4 or hls (a playlist), by magic bytes. Raises `UnreadableError`."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if content[4:12] in {b"ftypavif", b"ftypavis"}:
        return "avif"
    if content[4:8] == b"ftyp":
        return "mp4"
    if content[:7] == b"#EXTM3U":
        return "hls"
    raise UnreadableError(f"no WebP, JPEG, AVIF, MP4 or playlist: begins with {content[:12]!r}")


async def measure(content: bytes) -> Measured:
    """Decode a variant's first picture and probe the rest. Raises `UnreadableError`."""
    return await measure_files({"variant": content}, "variant")


async def measure_files(files: Mapping[str, bytes], first: str) -> Measured:
    """As `measure`, of a file that names others: all of them, by their names. Raises `UnreadableError`."""
    kind = format_of(files[first])
    if kind == "avif":
        return await asyncio.to_thread(_avif, files[first])
    with tempfile.TemporaryDirectory(prefix="medialane-") as folder:
        await asyncio.to_thread(_write, Path(folder), files)
        path = Path(folder) / first
        probe, luma = await _both(_probe(path), _first_picture(path))
    streams = {stream["codec_type"]: stream for stream in probe["streams"]}
    if "video" not in streams:
        raise UnreadableError("there is no picture in it")
    width, height = int(streams["video"]["width"]), int(streams["video"]["height"])
    duration = float(probe["format"].get("duration", 0)) if kind in {"mp4", "hls"} else 0.0
    return Measured(kind, width, height, duration, "audio" in streams, _bright(luma, width, height))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if Path(name).name != name:
            raise UnreadableError(f"it names a file elsewhere: {name}")
        (folder / name).write_bytes(content)


def _bright(luma: bytes, width: int, height: int) -> float:
    if len(luma) != width * height:
        raise UnreadableError(f"says {width}x{height}, but decodes to {len(luma)} pixels")
    return len(luma.translate(None, delete=_DARK)) / len(luma)


def _avif(content: bytes) -> Measured:
    from PIL import Image  # noqa: PLC0415 - slow to import, and few need it

    try:
        with Image.open(io.BytesIO(content), formats=["AVIF"]) as picture:
            luma = picture.convert("L").tobytes()
            width, height = picture.size
    except (OSError, ValueError) as error:
        raise UnreadableError(f"Pillow: {error}") from error
    return Measured("avif", width, height, 0.0, sound=False, bright=_bright(luma, width, height))


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
