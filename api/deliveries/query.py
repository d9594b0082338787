"""Query parameters of delivery lists."""

from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from api.cursors import MAX_PAGE
from schemas.patterns import whole
from schemas.states import DeliveryState

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Most deliveries of the page")]
State = Annotated[DeliveryState | None, QueryParameter(name="state", description="Only deliveries in this state")]
EventType = Annotated[
    str | None,
    QueryParameter(
        name="eventType",
        max_length=64,
        pattern=whole(r"[a-z_]+(\.[a-z_]+)*", "the type of an event, such as asset.ready"),
        description="Only of events of this type, such as `asset.ready`",
    ),
]
Asset = Annotated[UUID | None, QueryParameter(name="assetId", description="Only of events about this asset")]
