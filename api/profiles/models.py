"""What the profile routes answer."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.profile_sets import OwnProfile
from schemas.states import Stage


class ProfileOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A variant that is made of every upload of its kind; sizes in pixels and bytes."""

    name: str
    version: Annotated[int, Meta(description="Another one is another object: links to the old stay what they were")]
    stage: Annotated[Stage, Meta(description="Assets are ready after the primary stage; others come later")]
    content_type: str
    fit: Literal["crop", "width", "height", "inside"]
    width: int | None
    height: int | None
    quality: int | None
    target_bytes: int | None
    animated: bool


class ProfilesOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The choice as it was saved, and all that it means."""

    include: tuple[str, ...]
    own: tuple[OwnProfile, ...]
    profiles: tuple[ProfileOut, ...]
    sets: Annotated[dict[str, tuple[str, ...]], Meta(description="Every set of ours, with its profiles' names")]
