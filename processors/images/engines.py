"""Which engine serves which format: one table."""

from collections.abc import Callable
from functools import cache

from processors.images.heif import HeifEngine
from processors.images.protocol import Engine
from processors.images.vips import VipsEngine
from processors.images.wand import WandEngine

ENGINE_OF: dict[str, Callable[[], Engine]] = {
    "jpeg": VipsEngine,
    "png": VipsEngine,
    "webp": VipsEngine,
    "avif": VipsEngine,
    "gif": VipsEngine,
    "heic": HeifEngine,
    "tiff": VipsEngine,
    "bmp": WandEngine,
}


def engine_for(image_format: str) -> Engine:
    """The engine of a sniffed format, made on first use and kept: an engine holds no state of any job."""
    return _made(ENGINE_OF[image_format])


@cache
def _made(make: Callable[[], Engine]) -> Engine:
    return make()
