"""The environment that puts our own ImageMagick policy in force and keeps the libraries to one thread each."""

from pathlib import Path


def environment() -> dict[str, str]:
    """Variables that must be set before ImageMagick or libvips is loaded."""
    return {
        "MAGICK_CONFIGURE_PATH": str(Path(__file__).parent),
        "MAGICK_THREAD_LIMIT": "1",
        "OMP_NUM_THREADS": "1",
        # One thread per child: the pool scales by children, and a child's memory stays small.
        "VIPS_CONCURRENCY": "1",
        # libvips says everything worth knowing in its exceptions.
        "VIPS_WARNING": "0",
    }
