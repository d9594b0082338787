"""A picture in memory, whichever engine decoded it: libvips scales, crops and encodes it."""

from typing import Any

from processors.images.protocol import Focus

# Effort 2 of 6 encodes a photo in half the time of the default 4, for 1 to 4 % more bytes.
_WEBP_EFFORT = 2
# The fastest but one: each step further doubles the time for 2 to 4 % fewer bytes.
_AVIF_EFFORT = 1
_MOST_ALIKE = 127.5  # of 255
_MOST_EXACT_PIXELS = 4_000_000  # WebP without loss takes some 30 bytes a pixel: 1.5 GB for 49 megapixels


def scaled(image: Any, width: int, height: int) -> Any:
    """A libvips image of any depth at exactly this size; what is transparent lends its neighbours no colour."""
    if (image.width, image.height) == (width, height):
        return image
    across, down = width / image.width, height / image.height
    if not image.hasalpha():
        return image.resize(across, vscale=down)
    return image.premultiply().resize(across, vscale=down).unpremultiply().rint().cast(image.format)


def _webp(image: Any, quality: int) -> bytes:
    """With loss, or without where that makes no larger a file: of screenshots and drawings a fourth, seen."""
    lossy = _saved(image, Q=quality)
    if image.width * image.height > _MOST_EXACT_PIXELS:
        return lossy
    strip = image.crop(0, image.height * 3 // 8, image.width, max(1, image.height // 4))
    if not _is_flat(strip) or len(_saved(strip, lossless=True)) > len(_saved(strip, Q=quality)):
        return lossy
    return min(_saved(image, lossless=True), lossy, key=len)


def _saved(image: Any, **options: Any) -> bytes:
    return bytes(image.webpsave_buffer(effort=_WEBP_EFFORT, keep="none", **options))


def _is_flat(image: Any) -> bool:
    """Whether most pixels are as the ones beside them; those of a photo are not."""
    across = image.width - 1
    if not across:
        return False
    same = image.crop(0, 0, across, image.height) == image.crop(1, 0, across, image.height)
    return float(same.bandand().avg()) > _MOST_ALIKE


class VipsPicture:
    """See `protocol.Picture`."""

    def __init__(self, image: Any) -> None:
        """`image` is upright 8-bit sRGB, in memory."""
        self._image = image

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self._image.width)

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self._image.height)

    def resized(self, width: int, height: int) -> "VipsPicture":
        """See `protocol.Picture.resized`."""
        shrunk = self._image.thumbnail_image(width, height=height, size="force", no_rotate=True)
        return VipsPicture(shrunk.copy_memory())

    def cropped(self, width: int, height: int, focus: Focus = "attention") -> "VipsPicture":
        """See `protocol.Picture.cropped`."""
        if isinstance(focus, str):
            part = self._image.smartcrop(width, height, interesting=focus)
        else:
            left, top = (
                min(max(round(share * side - wanted / 2), 0), side - wanted)
                for share, side, wanted in zip(focus, (self.width, self.height), (width, height), strict=True)
            )
            part = self._image.crop(left, top, width, height)
        return VipsPicture(part.copy_memory())

    def encoded(self, image_format: str, quality: int) -> bytes:
        """See `protocol.Picture.encoded`."""
        image = self._image
        if image_format == "webp":
            return _webp(image, quality)
        if image_format == "avif":
            return bytes(
                image.heifsave_buffer(Q=quality, effort=_AVIF_EFFORT, compression="av1", bitdepth=8, keep="none")
            )
        if image_format == "jpeg":
            flat = image.flatten(background=255) if image.hasalpha() else image
            return bytes(flat.jpegsave_buffer(Q=quality, optimize_coding=True, keep="none"))
        raise ValueError(f"cannot write {image_format}")

    def rgba(self) -> bytes:
        """See `protocol.Picture.rgba`."""
        image = self._image if self._image.hasalpha() else self._image.bandjoin(255)
        return bytes(image.write_to_memory())
