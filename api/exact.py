"""JSON types as they were sent: Litestar converts bodies as it does query strings, so that to it `0` is false."""

import re
from typing import Any

import msgspec

from api.choices import with_choices
from api.principals import TenantRequest
from schemas.errors import ErrorCode, MedialaneError

_PLACE = re.compile(r" - at `\$\.([^`]+)`$")


async def exact(request: TenantRequest, kind: type[Any]) -> None:
    """Check that the body is such a struct without any conversion; for bodies that Litestar has taken already.

    Raises `MedialaneError(invalid_request)`.
    """
    try:
        msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        message, place = str(error), _PLACE.search(str(error))
        field = place[1] if place else None
        detail = f"{field}: {with_choices(message.removesuffix(place[0]), kind, place[1])}" if place else message
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field=field) from error
