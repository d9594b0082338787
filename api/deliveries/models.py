"""Webhook deliveries as the API shows them, and what is asked for to have them sent again."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from api.envelope import Moment
from connectors.postgres.webhooks.delivery_views import MOST_ATTEMPTS
from connectors.postgres.webhooks.resending import MOST_COUNTED, MOST_RECOVERED, Which
from schemas.metrics import WEBHOOK_OUTCOMES, WEBHOOK_UNSENT
from schemas.states import DeliveryState

_SHOWN = (f"`{outcome}`" for outcome in WEBHOOK_OUTCOMES if outcome not in WEBHOOK_UNSENT)
_OUTCOMES = f"{', '.join(_SHOWN)}; more may come"


class DeliveryOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A delivery: one event to one endpoint."""

    id: UUID
    event_id: Annotated[UUID, Meta(description="`webhook-id` of every attempt, and `data.id` of the body")]
    type: Annotated[str, Meta(description="The event's type")]
    asset_id: UUID
    state: Annotated[DeliveryState, Meta(description="`delivered` and `dead` have ended")]
    attempts: Annotated[int, Meta(description="Attempts that were begun, before it was sent again as well")]
    due_at: Annotated[Moment | None, Meta(description="When the next attempt is due, if it waits for one")]
    created_at: Moment
    finished_at: Moment | None
    last_outcome: Annotated[str | None, Meta(description=f"Of the last attempt that ended: {_OUTCOMES}")]
    last_status: Annotated[int | None, Meta(description="HTTP status of that one, if it was answered")]


class AttemptOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An attempt."""

    number: Annotated[int, Meta(description="From 1")]
    started_at: Moment
    finished_at: Annotated[Moment | None, Meta(description="None: it is under way, or was lost with its process")]
    duration_s: Annotated[float | None, Meta(description="Seconds from its beginning until its result was written")]
    outcome: Annotated[str | None, Meta(description=f"One of {_OUTCOMES}")]
    status: Annotated[int | None, Meta(description="HTTP status, if it was answered")]
    response: Annotated[str | None, Meta(description="The first 4 KiB of the answer's body, or why there is none")]
    traceparent: Annotated[str | None, Meta(description="As it was sent")]


class DeliveryDetail(DeliveryOut, frozen=True, kw_only=True, rename="camel"):
    """Everything about a delivery."""

    payload: Annotated[dict[str, Any], Meta(description="The body that every attempt sends")]
    attempt_log: Annotated[
        tuple[AttemptOut, ...], Meta(description=f"The last {MOST_ATTEMPTS} attempts, in their order")
    ]


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Deliveries, the newest events first."""

    items: tuple[DeliveryOut, ...]
    next_cursor: Annotated[
        str | None,
        Meta(
            description="Pass it as `cursor` for the next page; none: this is the last. With a filter a page may hold "
            "fewer than `limit`, even none, and not be the last"
        ),
    ]


class RecoverRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be sent again, by the time of its event."""

    since: Annotated[Moment, Meta(description="Events that happened then or later")]
    until: Annotated[Moment | None, Meta(description="And before this")] = None
    state: Annotated[Which, Meta(description="`dead`: what was given up. `finished`: what was delivered, too")] = (
        Which.DEAD
    )
    dry_run: Annotated[bool, Meta(description="Only count")] = False
    cursor: Annotated[str, Meta(max_length=64, description="`nextCursor` of the call before")] | None = None


class RecoveredOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is sent again, or would be."""

    count: Annotated[
        int,
        Meta(
            description=f"Of this call, which looks at {MOST_RECOVERED:,} deliveries; of a dry run: of all calls, as "
            f"far as the first {MOST_COUNTED:,} tell"
        ),
    ]
    more: Annotated[bool, Meta(description="There may be more")]
    next_cursor: Annotated[str | None, Meta(description="Repeat the call with it as `cursor`; none for a dry run")]
