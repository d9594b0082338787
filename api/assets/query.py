"""Query parameters of asset lists and reads, and what they mean."""

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter

from api.cursors import MAX_PAGE
from connectors.postgres.assets.views import AssetFilter
from schemas.errors import ErrorCode, MedialaneError
from schemas.patterns import whole
from schemas.states import AssetState, MediaKind

MAX_WAIT_S = 60.0

_WAIT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)s?")

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Most assets of the page")]
Wait = Annotated[
    str | None,
    QueryParameter(
        pattern=whole(_WAIT.pattern, "seconds, such as 30s or 2.5"),
        max_length=8,
        description=f"Seconds to wait for the end of the processing, such as `30s`; at most {MAX_WAIT_S:.0f}",
    ),
]
Until = Annotated[
    Literal["ready", "settled"],
    QueryParameter(
        description="What to `wait` for. `ready`: the end of the first stage, which decides the asset's state; "
        "`settled`: that of every job, so that AVIF, HLS and whatever comes later are there, too"
    ),
]
Include = Annotated[
    Literal["variants"] | None,
    QueryParameter(description="`variants`: each asset with its variants and pictures, and their signed addresses"),
]

_MOMENT = {"format": "date-time"}


def seconds(wait: str) -> float:
    """The seconds of a `wait`. Raises `MedialaneError(invalid_request)` for what is none."""
    found = _WAIT.fullmatch(wait)
    if found is None:
        raise MedialaneError(ErrorCode.INVALID_REQUEST, "Seconds are written like 30s or 2.5.", field="wait")
    return min(float(found[1]), MAX_WAIT_S)


class Filters:
    """What narrows a list of assets."""

    State = Annotated[AssetState | None, QueryParameter(name="state", description="Only assets in this state")]
    Kind = Annotated[
        MediaKind | None, QueryParameter(name="type", description="Only images, only videos, or only sound")
    ]
    From = Annotated[
        str | None,
        QueryParameter(name="createdFrom", description="Only assets made then or later", schema_extra=_MOMENT),
    ]
    To = Annotated[
        str | None, QueryParameter(name="createdTo", description="Only assets made before", schema_extra=_MOMENT)
    ]
    Tag = Annotated[
        list[str] | None,
        QueryParameter(
            max_items=8,
            description="Only assets with this tag; with several: with all",
            schema_extra={"items": Schema(type=OpenAPIType.STRING, pattern="^[^\u0000]*$")},
        ),
    ]
    Metadata = Annotated[
        list[str] | None,
        QueryParameter(
            max_items=8,
            description="Only assets with this entry, as `name:value`; with several: with all. A name has one value",
            schema_extra={"items": Schema(type=OpenAPIType.STRING, pattern="^[^:\u0000]+:[^\u0000]*$")},
        ),
    ]

    @staticmethod
    def of(
        state: AssetState | None,
        kind: MediaKind | None,
        created_from: str | None,
        created_to: str | None,
        tags: list[str] | None,
        metadata: list[str] | None,
    ) -> AssetFilter:
        """The filter. Raises `MedialaneError(invalid_request)`."""
        entries: dict[str, str] = {}
        for entry in metadata or ():
            name, colon, value = entry.partition(":")
            if not colon or not name or "\0" in entry:
                detail = "An entry is `name:value`."
                raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="metadata")
            if entries.setdefault(name, value) != value:
                detail = f"An asset has one value by the name {name!r}, and not two."
                raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="metadata")
        if any("\0" in tag for tag in tags or ()):
            raise MedialaneError(ErrorCode.INVALID_REQUEST, "No tag has this character.", field="tag")
        return AssetFilter(
            state=state,
            kind=kind,
            created_from=_moment(created_from, "createdFrom"),
            created_to=_moment(created_to, "createdTo"),
            metadata=entries,
            tags=tuple(tags or ()),
        )


def _moment(text: str | None, field: str) -> datetime | None:
    """Strictly: by itself the framework takes numbers for moments, too."""
    try:
        return None if text is None else msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        detail = "A moment is written as RFC 3339 has it: 2026-01-31T12:00:00Z."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field=field) from error
