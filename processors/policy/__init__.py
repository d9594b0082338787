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
        # A job's buffers of some MiB come again with the next: keeping them saves 5 % of a photo's CPU in page faults.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "67108864",
        # libvips says everything worth knowing in its exceptions.
        "VIPS_WARNING": "0",
    }
