"""What processing finds out about a source, beside its variants: for the asset's row, the API and `asset.ready`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

NO_NUL = r"^[^\x00]*$"
"""What a child says may go into rows, and Postgres takes no NUL: the child that says one talks nonsense."""

Text = Annotated[str, Meta(pattern=NO_NUL)]

Word = Annotated[str, Meta(max_length=64, pattern=NO_NUL)]
"""What a child that read hostile bytes says goes no further than it must."""


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the picture, film or sound itself; nothing that tells the device, the place or the person.

    What is not known is left out.
    """

    format: Annotated[Word | None, Meta(description="What the bytes are: `jpeg`, `heic`, `mp4`, ...")] = None
    thumbhash: Annotated[
        Word | None,
        Meta(description="ThumbHash, base64: some 25 bytes that show as a blurred picture; of a film, its poster's"),
    ] = None
    dominant_color: Annotated[
        Word | None, Meta(description="The colour of most of it, `#rrggbb`; of a film, its poster's")
    ] = None
    orientation: Annotated[
        Annotated[int, Meta(ge=1, le=8)] | None,
        Meta(description="As it was stored, by EXIF's numbers (1: upright); variants are upright"),
    ] = None
    alpha: Annotated[bool | None, Meta(description="Whether it has transparency")] = None
    bit_depth: Annotated[
        Annotated[int, Meta(ge=1, le=128)] | None, Meta(description="Bits per channel of the source")
    ] = None
    color_space: Annotated[
        Word | None,
        Meta(description="The source's: `srgb`, `display-p3`, `rec2020`, `cmyk`, `gray`, `other`"),
    ] = None
    # Queries compare it as Postgres' `int`: one number beyond would fail them for all of a tenant's assets.
    frames: Annotated[
        Annotated[int, Meta(ge=1, le=2**31 - 1)] | None,
        Meta(description="Frames of an animation; 1 for a still picture"),
    ] = None
    fps: Annotated[
        Annotated[float, Meta(gt=0, le=1000)] | None, Meta(description="Frames a second of a film, on average")
    ] = None
    hdr: Annotated[bool | None, Meta(description="Whether a film is HDR (PQ or HLG); its variants are not")] = None
    has_audio: Annotated[bool | None, Meta(description="Whether a film has sound that can be heard")] = None
    channels: Annotated[
        Annotated[int, Meta(ge=1, le=255)] | None,
        Meta(description="Channels of the sound, of a film too; variants have two at most"),
    ] = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What processing found out about a source; upright pixels and seconds."""

    width: int
    height: int
    duration_s: float | None = None
    details: Details | None = None

    def columns(self) -> dict[str, Any]:
        """The values by the names of the columns of `assets` and `content` that hold them."""
        values = msgspec.structs.asdict(self)
        return values | {"details": None if self.details is None else msgspec.to_builtins(self.details)}
