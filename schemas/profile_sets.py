"""A tenant's choice of profiles: sets and profiles of ours by name, and its own, checked when it is saved.

An upload may name some of what its tenant has chosen; then only those are made of it.
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from schemas.patterns import whole
from schemas.profiles import CATALOGUE, DEFAULT_PROFILES, PROFILE_SETS, Profile
from schemas.settings import ProfileSettings, SettingsError, variable
from schemas.states import MediaKind, Stage

MOST_OWN = 16
"""How many profiles of its own a tenant may have."""

MOST_TARGET_BYTES = 1 << 30
"""More than any picture that is made: beyond it a target would mean nothing."""

_NAME = whole("[a-z][a-z0-9_]{0,39}", "a-z, 0-9 and '_', a letter first, 40 at most")
_Target = Annotated[int, Meta(ge=1024, le=MOST_TARGET_BYTES)]
_ALWAYS = frozenset(
    {"name", "format", "fit", "width", "height", "focus", "quality", "targetBytes", "animated"}
)  # closed: see `kept`

_Side = Annotated[int, Meta(ge=1, le=4096)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class OwnProfile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A picture that a tenant wants beside ours, or instead of them. Sources are never enlarged."""

    name: Annotated[str, Meta(pattern=_NAME, description="Not one of ours", examples=["hero"])]
    format: Annotated[
        Literal["webp", "jpeg", "avif"], Meta(description="AVIF comes in the second stage, after the asset is ready")
    ]
    fit: Annotated[
        Literal["crop", "width", "height", "inside"],
        Meta(description="Scale to one side, into a box, or fill a box's shape and cut what is over"),
    ]
    width: _Side | None = None
    height: _Side | None = None
    focus: Annotated[
        Literal["attention", "centre"] | tuple[_Share, _Share],
        Meta(description="What a crop keeps: what draws the eye, the middle, or a point in shares of width and height"),
    ] = "attention"
    quality: Annotated[int, Meta(ge=1, le=100)] = 80
    target_bytes: Annotated[_Target | None, Meta(description="The quality is lowered until the file is no larger")] = (
        None
    )
    animated: Annotated[bool, Meta(description="Made of animations only, and moves; WebP, in the second stage")] = False


class ProfileChoice(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is made of a tenant's uploads. Kinds of media for which it names nothing keep the default."""

    include: Annotated[
        tuple[str, ...],
        Meta(max_length=64, description="Names of sets and of single profiles of ours", examples=[["webp", "jpeg"]]),
    ] = ("default",)
    own: Annotated[tuple[OwnProfile, ...], Meta(max_length=MOST_OWN)] = ()


class ProfileChoiceError(Exception):
    """The choice cannot be kept; `field` names what is to blame."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


def resolve(choice: ProfileChoice) -> tuple[Profile, ...]:
    """The profiles that a choice means, each once, in the order of stages. Raises `ProfileChoiceError`."""
    for name in choice.include:
        if not of_ours(name):
            there = ", ".join([*PROFILE_SETS, *CATALOGUE])
            raise ProfileChoiceError("include", f"There is no set or profile {name!r}; there are {there}.")
    made: dict[str, Profile] = {}
    for index, own in enumerate(choice.own):
        field = f"own[{index}]"
        if own.name in CATALOGUE or own.name in PROFILE_SETS:
            raise ProfileChoiceError(f"{field}.name", f"{own.name} is a name of ours; give it another one.")
        if own.name in made:
            raise ProfileChoiceError(f"{field}.name", f"Two profiles are called {own.name}.")
        made[own.name] = own_profile(own, field)
    return meaning(choice.include, made.values())


def meaning(include: Iterable[str], own: Iterable[Profile]) -> tuple[Profile, ...]:
    """The profiles that names of ours and profiles of a tenant's own mean, each once, in the order of stages.

    Kinds of media for which nothing of the first stage is there get the default.
    """
    chosen = {profile.name: profile for name in include for profile in of_ours(name)}
    chosen |= {profile.name: profile for profile in own}
    served = {profile.stage.kind for profile in chosen.values() if profile.stage.primary}
    rest = {each.name: each for each in DEFAULT_PROFILES if each.stage.kind not in served}
    return _in_order([*chosen.values(), *(profile for name, profile in rest.items() if name not in chosen)])


def default_choice(settings: ProfileSettings) -> ProfileChoice:
    """The choice of tenants that made none; it can be resolved. Raises `SettingsError`."""
    choice = ProfileChoice(include=settings.default)
    try:
        resolve(choice)
    except ProfileChoiceError as error:
        raise SettingsError([f"{variable(ProfileSettings, 'default')} is not valid: {error.detail}"]) from error
    return choice


def check_named(profiles: Iterable[Profile], kind: MediaKind, names: Collection[str]) -> None:
    """Whether an upload of this kind may name these. Raises `ProfileChoiceError`, which tells what it may.

    At least one has to be of the first stage: that one makes an asset ready.
    """
    offered = {profile.name: profile for profile in profiles if profile.stage.kind is kind}
    unknown = [name for name in names if name not in offered]
    if unknown:
        detail = f"There is no profile {unknown[0]!r} for this kind of file; there are {', '.join(offered)}."
        raise ProfileChoiceError("profiles", detail)
    first = [name for name, profile in offered.items() if profile.stage.primary]
    if not set(first) & set(names):
        detail = f"At least one has to be of those that are made first: {', '.join(first)}."
        raise ProfileChoiceError("profiles", detail)


def named(profiles: Iterable[Profile], kind: MediaKind, names: Collection[str] | None) -> tuple[Profile, ...]:
    """What is made of an upload of this kind that has named these; None: it has named none, and gets all.

    The tenant may have chosen anew since: a name that is offered no more is passed over, and where none of the first
    stage is left, all of that stage is made.
    """
    of_kind = tuple(profile for profile in profiles if profile.stage.kind is kind)
    if names is None:
        return of_kind
    left = {profile.name for profile in of_kind if profile.name in names}
    none_first = not any(profile.stage.primary for profile in of_kind if profile.name in left)
    return tuple(p for p in of_kind if p.name in left or (none_first and p.stage.primary))


def of_stage(profiles: Iterable[Profile], stage: Stage) -> tuple[Profile, ...]:
    """Those that a stage makes."""
    return tuple(profile for profile in profiles if profile.stage is stage)


def of_ours(name: str) -> tuple[Profile, ...]:
    """Those of the set or the profile of ours that is called so; none: there is no such."""
    return PROFILE_SETS.get(name) or ((CATALOGUE[name],) if name in CATALOGUE else ())


def own_profile(own: OwnProfile, field: str = "own") -> Profile:
    """What a tenant has described. Raises `ProfileChoiceError` for what does not go together."""
    needed = {"crop": ("width", "height"), "inside": ("width", "height"), "width": ("width",), "height": ("height",)}
    for side in ("width", "height"):
        given = getattr(own, side) is not None
        if given != (side in needed[own.fit]):
            wants = "needs" if side in needed[own.fit] else "takes no"
            raise ProfileChoiceError(f"{field}.{side}", f"The fit {own.fit} {wants} {side}.")
    if own.animated and own.format != "webp":
        raise ProfileChoiceError(f"{field}.animated", "Animations are made in WebP.")
    if own.animated and own.fit == "crop":
        raise ProfileChoiceError(f"{field}.fit", "Animations are scaled, not cropped.")
    second = own.format == "avif" or own.animated
    return Profile(
        name=own.name,
        version=_version(own),
        stage=Stage.IMAGE_AVIF if second else Stage.IMAGE_PRIMARY,
        format=own.format,
        content_type=f"image/{own.format}",
        fit=own.fit,
        width=own.width,
        height=own.height,
        focus=own.focus,
        quality=own.quality,
        target_bytes=own.target_bytes,
        animated=own.animated,
    )


def _in_order(profiles: Iterable[Profile]) -> tuple[Profile, ...]:
    stages = list(Stage)
    return tuple(sorted(profiles, key=lambda profile: stages.index(profile.stage)))


def kept(own: OwnProfile) -> dict[str, Any]:
    """An own profile as it is saved, and told from others: as the first release did it, which wrote every field.

    A field that came later is there only where it says something: so a release without it sees what is beyond it, and
    no profile gets another version because there is a new field.
    """
    usual = {field.encode_name: field.default for field in msgspec.structs.fields(OwnProfile)}
    return {name: value for name, value in msgspec.to_builtins(own).items() if name in _ALWAYS or value != usual[name]}


def _version(own: OwnProfile) -> int:
    """Drawn from the definition, as no counter could be: what was stored under another one is never taken for this."""
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(kept(own))).digest()[:4]) >> 1 or 1
