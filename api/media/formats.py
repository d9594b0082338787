"""Pictures in several formats: which variants are one picture, and which of them a reader's Accept header allows.

A variant `display_large_avif` in AVIF is the picture `display_large`, as `display_large_jpeg` in JPEG is, and
`display_large` itself. Tenants' own profiles are put together by the same rule.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.events import Variant

_SMALLEST_FIRST = ("image/avif", "image/webp", "image/jpeg")
_OLDEST_FIRST = tuple(reversed(_SMALLEST_FIRST))


class Picture(NamedTuple):
    """A picture's name and its content types, the smallest first."""

    name: str
    content_types: tuple[str, ...]


def names_of(picture: str) -> tuple[str, ...]:
    """The profiles that a picture of this name may have."""
    return (picture, *(f"{picture}{_suffix(kind)}" for kind in _SMALLEST_FIRST))


def picture_of(variant: Variant) -> str | None:
    """What a variant is called without its format; None for what is no picture in one of several formats."""
    if variant.content_type not in _SMALLEST_FIRST:
        return None
    return variant.profile.removesuffix(_suffix(variant.content_type))


def pictures_of(variants: Iterable[Variant]) -> tuple[Picture, ...]:
    """Every picture that is there in more than one format, in the order of the variants."""
    found: dict[str, list[str]] = {}
    for variant in variants:
        name = picture_of(variant)
        if name is not None:
            found.setdefault(name, []).append(variant.content_type)
    return tuple(
        Picture(name, tuple(sorted(types, key=_SMALLEST_FIRST.index)))
        for name, types in found.items()
        if len(types) > 1
    )


def choose(accept: str, content_types: Sequence[str]) -> str | None:
    """The content type to answer with; None if the header (RFC 9110, 12.5.1) allows none of them.

    What is preferred wins. Among equals what was named goes before what a wildcard allows: a reader that names AVIF can
    show it, and gets the smallest file; one that says `*/*` may be of any age, and gets what all can show.
    """
    ranges = _parsed(accept)
    best: tuple[tuple[float, bool, int], str] | None = None
    for kind in content_types:
        specificity, quality = max(((_matches(each, kind), q) for each, q in ranges), default=(-1, 0.0))
        if specificity < 0 or quality <= 0:
            continue
        named = specificity == 2
        order = _SMALLEST_FIRST if named else _OLDEST_FIRST
        place = order.index(kind) if kind in order else len(order)
        rank = (quality, named, -place)
        if best is None or rank > best[0]:
            best = rank, kind
    return None if best is None else best[1]


def _suffix(content_type: str) -> str:
    return "_" + content_type.removeprefix("image/")


def _matches(accepted: str, kind: str) -> int:
    """How exactly a media range names a type: 2 itself, 1 its kind, 0 anything, -1 not at all."""
    if accepted == kind:
        return 2
    if accepted == f"{kind.partition('/')[0]}/*":
        return 1
    return 0 if accepted == "*/*" else -1


def _parsed(accept: str) -> list[tuple[str, float]]:
    """Media ranges and their qualities. No header, or an empty one, allows everything."""
    found = []
    for item in (accept or "*/*").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _quality(value.strip())
        found.append((name, quality))
    return found


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
