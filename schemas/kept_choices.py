"""A tenant's choice of profiles as a row holds it, which another release may have saved.

What is saved is checked strictly (`schemas.profile_sets`). What is read is not: one that knows more may have written
it, which runs beside this one or was rolled back.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from schemas.profile_sets import (
    MOST_TARGET_BYTES,
    OwnProfile,
    ProfileChoice,
    ProfileChoiceError,
    kept,
    meaning,
    of_ours,
    own_profile,
)
from schemas.profiles import Profile
from schemas.states import MediaKind


class Beyond(NamedTuple):
    """An own profile that asks for what this release does not know; `kind`: of which media, None: not known either."""

    name: str
    kind: MediaKind | None


class KeptChoice(NamedTuple):
    """A saved choice: as far as this release understands it, what that means, and what is left of it."""

    choice: ProfileChoice
    profiles: tuple[Profile, ...]
    beyond: tuple[Beyond, ...] = ()

    def asks_beyond(self, kind: MediaKind, names: Collection[str] | None) -> bool:
        """Whether an upload of this kind that has named these (None: nothing) wants what this release does not know."""
        return any(one.kind in (None, kind) and (names is None or one.name in names) for one in self.beyond)


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    """What every release writes; fields that only others have are passed over."""

    include: tuple[str, ...] = ("default",)
    own: tuple[dict[str, Any], ...] = ()


_FORMATS = frozenset({"webp", "jpeg", "avif"})


def read_kept(row: object) -> KeptChoice:
    """The choice in a row. Names of ours that this release does not have are passed over: of what has gone nothing can
    be made, and whoever has what is new makes it.

    A name of a tenant's own stays its own, though it may have become one of ours. Raises `msgspec.ValidationError` for
    what no release has written.
    """
    found = msgspec.convert(row, _Row)
    include = tuple(name for name in found.include if of_ours(name))
    own, made, beyond = [], [], []
    for fields in map(_mended, found.own):
        try:
            one = msgspec.convert(fields, OwnProfile)
            made.append(own_profile(one))
            own.append(one)
        except (msgspec.ValidationError, ProfileChoiceError):
            kind = MediaKind.IMAGE if fields.get("format") in _FORMATS else None
            beyond.append(Beyond(str(fields.get("name")), kind))
    choice = ProfileChoice(include=include, own=tuple(own))
    return KeptChoice(choice, meaning(include, made), tuple(beyond))


def write_kept(choice: ProfileChoice) -> dict[str, Any]:
    """The row of a choice."""
    return {"include": choice.include, "own": [kept(own) for own in choice.own]}


def _mended(own: dict[str, Any]) -> dict[str, Any]:
    """An own profile as it is accepted now: earlier releases took a newline at a name's end, and any target."""
    name, target = own.get("name"), own.get("targetBytes")
    mended = {} if not isinstance(name, str) else {"name": name.removesuffix("\n")}
    return own | mended | ({"targetBytes": min(target, MOST_TARGET_BYTES)} if isinstance(target, int) else {})
