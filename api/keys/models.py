"""API keys as the API takes and shows them; the secret part only in the answer that makes it."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.cursors import NextCursor
from api.envelope import Moment
from api.fields import NO_CONTROLS
from schemas.scopes import Scope

MOST_OVERLAP_S = 30 * 86_400
LONGEST_LIFE_S = 10 * 365 * 86_400

_Life = Annotated[int, Meta(ge=1, le=LONGEST_LIFE_S)]
_WITH_THE_CALLERS = "With the calling key or token at the latest."


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key to make."""

    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=len(Scope),
            description="What it may do: nothing that the calling key may not",
            examples=[["assets:read"]],
        ),
    ]
    name: Annotated[str, Meta(max_length=100, pattern=NO_CONTROLS, description="What it is for", examples=["ci"])] = ""
    expires_in: Annotated[
        _Life | None, Meta(description=f"Seconds until it expires; never, if left out. {_WITH_THE_CALLERS}")
    ] = None


class RotationRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a key is followed by a new one."""

    overlap: Annotated[
        int, Meta(ge=0, le=MOST_OVERLAP_S, description="Seconds that the old key goes on", examples=[86_400])
    ] = 86_400
    expires_in: Annotated[
        _Life | None,
        Meta(description=f"Seconds until the new key expires; as the old one, if left out. {_WITH_THE_CALLERS}"),
    ] = None


class KeyOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key without its secret."""

    id: UUID
    prefix: Annotated[str, Meta(description="The part between `mp_` and the secret")]
    name: str
    scopes: tuple[str, ...]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Annotated[Moment | None, Meta(description="To within half a minute")]
    replaces: Annotated[UUID | None, Meta(description="The key that this one was made for by rotation")]


class KeyPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Keys, newest first, ended ones too."""

    data: tuple[KeyOut, ...]
    next_cursor: NextCursor
    status: Literal["success"] = "success"


class KeyMade(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new key: shown now and never again."""

    id: UUID
    prefix: str
    key: Annotated[str, Meta(description="`mp_<prefix>_<secret>`")]
    scopes: tuple[str, ...]
    created_at: Moment
    expires_at: Moment | None
