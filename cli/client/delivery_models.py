"""What the API answers about webhook deliveries, as frozen structs."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Delivery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event to one endpoint; `delivered` and `dead` have ended. `event_id` is every attempt's `webhook-id`.

    `last_outcome` and `last_status` are of the last attempt that ended.
    """

    id: UUID
    event_id: UUID
    type: str
    asset_id: UUID
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime | None = None
    finished_at: datetime | None = None
    last_outcome: str | None = None
    last_status: int | None = None


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An attempt, from 1; without `outcome` it is under way, or was lost. `response` is the start of the answer."""

    number: int
    started_at: datetime
    finished_at: datetime | None = None
    duration_s: float | None = None
    outcome: str | None = None
    status: int | None = None
    response: str | None = None
    traceparent: str | None = None


class DeliveryDetail(Delivery, frozen=True, kw_only=True, rename="camel"):
    """A delivery with the body that every attempt sends, and its last hundred attempts."""

    payload: dict[str, Any]
    attempt_log: list[DeliveryAttempt]


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of deliveries; with a filter it may be short, even empty, and `next_cursor` still lead on."""

    items: list[Delivery]
    next_cursor: str | None = None


class Recovered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many deliveries are sent again, or would be; `more`: there may be others."""

    count: int
    more: bool
    next_cursor: str | None = None
