"""What the operations on webhook deliveries are asked and answer, by their ids."""

from typing import Any

import msgspec

from api.deliveries.models import AttemptOut, DeliveryDetail, DeliveryOut, DeliveryPage, RecoveredOut, RecoverRequest
from api.envelope import Done, Success
from api.examples import ids
from api.examples.events import EVENTS
from schemas.states import DeliveryState

_EVENT = EVENTS["asset.cancelled"]
_DELIVERY: dict[str, Any] = {
    "id": ids.DELIVERY, "event_id": ids.EVENT, "type": _EVENT.event_type, "asset_id": ids.ASSET,
    "state": DeliveryState.WAITING, "attempts": 1, "due_at": ids.NOON + 16 * ids.SECOND,
    "created_at": ids.NOON + 5 * ids.SECOND, "finished_at": None, "last_outcome": "rejected", "last_status": 503,
}  # fmt: skip
_DETAIL = DeliveryDetail(
    **_DELIVERY,
    payload={
        "type": _EVENT.event_type, "timestamp": msgspec.to_builtins(_EVENT.time), "event": _EVENT.event_type,
        "asset_id": str(ids.ASSET), "job_id": None, "data": msgspec.to_builtins(_EVENT),
    },
    attempt_log=(
        AttemptOut(
            number=1, started_at=ids.NOON + 5 * ids.SECOND, finished_at=ids.NOON + 6 * ids.SECOND, duration_s=1.0,
            outcome="rejected", status=503, response="upstream is away",
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ),
)  # fmt: skip

REQUESTS: dict[str, Any] = {"recoverWebhook": RecoverRequest(since=ids.NOON, dry_run=True)}
ANSWERS: dict[str, Any] = {
    "listDeliveries": Success(data=DeliveryPage(items=(DeliveryOut(**_DELIVERY),), next_cursor=None)),
    "readDelivery": Success(data=_DETAIL),
    "resendDelivery": Done(message="Delivery will be sent again"),
    "recoverWebhook": Success(data=RecoveredOut(count=42, more=False, next_cursor=None)),
}
