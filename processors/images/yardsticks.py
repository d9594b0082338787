"""What a photo's ladder is held against: three naive decodes, and the least that any implementation must do.

    python -m processors.images.yardsticks naive|floor PHOTO...      # CPU seconds per photo

Run as a process of its own, with one thread, as a media child has.
"""

import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

_SIZES = ((1280, None), (512, None), (256, 256))
_QUALITY = 80


def naive(photo: str, out: Path) -> None:
    """Each variant from a full decode of its own, with ImageMagick."""
    from wand.image import Image  # noqa: PLC0415 - only the yardstick in use is loaded

    for width, height in _SIZES:
        with Image(filename=photo) as image:
            image.auto_orient()
            image.transform(resize=f"{width}x{height}^" if height else f"{width}x")
            if height:
                image.crop(width=width, height=height, gravity="center")
            image.strip()
            image.compression_quality = _QUALITY
            image.save(filename=f"webp:{out}")


def floor(photo: str, out: Path) -> None:
    """One decode at half scale, one resize a variant, each from the one before, and the encodes."""
    import pyvips  # noqa: PLC0415 - as above

    picture = pyvips.Image.jpegload(photo, shrink=2, access="sequential")
    for width, height in _SIZES:
        factor = (height or width) / (picture.height if height else picture.width)
        picture = picture.resize(factor).copy_memory()
        shown = picture.crop(0, 0, width, height) if height else picture
        out.write_bytes(shown.webpsave_buffer(Q=_QUALITY, effort=2, keep="none"))


def main(arguments: Sequence[str]) -> int:
    """Entry; prints one number. The first photo is done once before the clock starts."""
    work: Callable[[str, Path], None] = {"naive": naive, "floor": floor}[arguments[0]]
    photos = arguments[1:]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        work(photos[0], out)
        before = _cpu_s()
        for photo in photos:
            work(photo, out)
        sys.stdout.write(f"{(_cpu_s() - before) / len(photos)}\n")
    return 0


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
