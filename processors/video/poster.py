"""A poster that shows something: where the main run gave none or a black one, a few other moments are tried."""

from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import pyvips

from processors.contract import MediaError
from processors.ffmpeg import helper
from processors.ffmpeg.argv import COMMON, command
from processors.images.engines import engine_for
from processors.images.placeholder import Placeholder, placeholder_of
from processors.video.graph import Target, as_jpeg, prepared, scaled
from processors.video.probe import Clip, input_options

# Mean of the luma, 0 to 255. Video black is 0 after conversion; dim night scenes lie above 12.
BLACK_BELOW = 10.0
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)
_JPEG_END = b"\xff\xd9"
_CPU_S, _WALL_S = 60.0, 120.0


def ensure(
    source: Path, clip: Clip, target: Target, *, moments: Sequence[float] | None = None, wall_s: float = _WALL_S
) -> float:
    """Replace a missing or black poster by the brightest of a few other frames: those at `moments`, in seconds, each of
    which may take `wall_s`; by default at some shares of the film's length.

    Returns the peak memory of what was run, MiB. A film that is black throughout keeps its black poster;
    one without a single frame that decodes leaves no file.
    """
    best, rss_mb = brightness(target.path), 0.0
    candidate = target.path.with_suffix(".try.jpg")
    if moments is None:
        moments = [(clip.duration_s or 0.0) * share for share in _SHARES]
    for at in moments if best < BLACK_BELOW else ():
        try:
            argv = _seek(source, clip, target, at, candidate)
            ran = helper.run(argv, reads=source, writes=candidate.parent, cpu_s=_CPU_S, wall_s=wall_s)
            rss_mb = max(rss_mb, ran.rss_mb)
        except MediaError:
            continue
        if (bright := brightness(candidate)) > best:
            candidate.replace(target.path)
            best = bright
        if best >= BLACK_BELOW:
            break
    candidate.unlink(missing_ok=True)
    if best < 0:
        target.path.unlink(missing_ok=True)
    return rss_mb


def placeholder(target: Target) -> Placeholder | None:
    """What shows before the film has loaded, by a finished poster; None if there is none that can be read."""
    if not target.path.is_file():
        return None
    try:
        picture = engine_for("jpeg").decode(target.path, "jpeg", target.width, target.height)
    except MediaError:
        return None
    return placeholder_of(picture)


def is_good(path: Path) -> bool:
    """Whether a poster is there, whole (ffmpeg may be writing it) and not black."""
    if not path.is_file() or not path.read_bytes().endswith(_JPEG_END):
        return False
    return brightness(path) >= BLACK_BELOW


def brightness(path: Path) -> float:
    """Mean luma of a JPEG, 0 to 255; -1 if there is none that can be read."""
    try:
        # Read into memory first: libvips would answer for the same path from its cache.
        return float(pyvips.Image.new_from_buffer(path.read_bytes(), "").colourspace("b-w").avg())
    except (FileNotFoundError, pyvips.Error):  # ffmpeg gave up, before the file or in the middle of it
        return -1.0


def _seek(source: Path, clip: Clip, target: Target, at: float, to: Path) -> list[str]:
    read = ffmpeg.input(f"file:{source}", **input_options(clip.demuxer), ss=round(at, 3), threads=1)
    frame = scaled(prepared(read[str(clip.video)], clip), clip, target.width, target.height, from_source=True)
    options = {"update": 1, "vframes": 1, "q:v": 3, **COMMON}
    return command(ffmpeg.output(as_jpeg(frame), str(to), f="image2", **options))
