"""Webhook deliveries that have ended, sent again: one, or what an endpoint did not get since some time.

They become due, and an agent takes them up like any other. The epoch goes up, so a late writer of the old attempt finds
nothing; attempts go on counting, since the log's rows have their numbers, and the schedule counts from
`attempts_before`. Each statement serves the API (under the app role) and operators.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import first_uuid7
from schemas.states import DeliveryState

MOST_RECOVERED = 1000
"""Deliveries that one call looks at."""
MOST_COUNTED = 100_000
"""Those that are counted at most."""
MOST_AHEAD_S = 600.0
"""What was sent again is sought so far ahead."""
_MOST_RETRIES = 10_000
SPREAD_S = 0.005
"""Between the due times of two: a receiver that is back is not overrun, nor a look filled by one endpoint's."""

_STANDING = """
    SELECT enabled, disabled_reason FROM webhook_endpoints
    WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL
"""
_READ = sa.text(_STANDING)
# No stronger: an agent that disables it, on a 410, writes others' results with that. What is sent again to one that is
# disabled or deleted at this moment is given up when it comes due.
_HOLD = sa.text(f"{_STANDING} FOR KEY SHARE")
_AGAIN = """
    state = 'waiting', epoch = d.epoch + 1, attempts_before = d.attempts, owner = NULL, lease_until = NULL,
    finished_at = NULL
"""
_RESEND = sa.text(f"""
    UPDATE webhook_deliveries d SET {_AGAIN}, due_at = clock_timestamp()
    WHERE d.tenant_id = :tenant_id AND d.endpoint_id = :endpoint_id AND d.id = :id AND d.state IN ('delivered', 'dead')
    RETURNING d.event_id
""")  # noqa: S608 - made of constants
_STATE = sa.text("""
    SELECT state FROM webhook_deliveries WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND id = :id
""")


class Which(StrEnum):
    """Which deliveries are sent again."""

    DEAD = "dead"
    FINISHED = "finished"  # those that were delivered, too


# The oldest first, in the order of an index, and the one to go on with.
_WALK = {
    which: f"""
        SELECT id, event_id, state FROM webhook_deliveries
        WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND event_id >= :first AND event_id < :beyond {only}
        ORDER BY event_id LIMIT :most + 1
    """  # noqa: S608 - made of constants
    for which, only in {Which.DEAD: "AND state = 'dead'", Which.FINISHED: ""}.items()
}
_RECOVER = {
    which: sa.text(f"""
        WITH walked AS MATERIALIZED (
            SELECT id, event_id, row_number() OVER (ORDER BY event_id) AS place FROM ({walk}) AS oldest
        ), ended AS (
            SELECT d.id, walked.place FROM walked JOIN webhook_deliveries d ON d.id = walked.id
            WHERE walked.place <= :most AND d.state IN ('delivered', 'dead')
            ORDER BY walked.place FOR NO KEY UPDATE OF d SKIP LOCKED
        ), again AS (
            UPDATE webhook_deliveries d SET {_AGAIN},
                due_at = clock_timestamp() + (:delay_s + :spread_s * ended.place) * interval '1 second'
            FROM ended WHERE d.id = ended.id RETURNING d.id
        )
        SELECT (SELECT count(*) FROM again) AS sent,
            (SELECT event_id FROM walked WHERE place = :most + 1) AS resume
    """)  # noqa: S608 - made of constants
    for which, walk in _WALK.items()
}
# Retries come due between them, and are no reason to wait: so many are passed over at most.
_LAST_DUE = sa.text("""
    SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM (
        SELECT due_at, attempts, attempts_before FROM webhook_deliveries
        WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND state = 'waiting'
            AND due_at > statement_timestamp() AND due_at < statement_timestamp() + :ahead_s * interval '1 second'
        ORDER BY due_at DESC LIMIT :most
    ) AS latest WHERE attempts = attempts_before ORDER BY due_at DESC LIMIT 1
""")
_COUNT = {
    which: sa.text(f"""
        SELECT count(*) FILTER (WHERE state IN ('delivered', 'dead')) AS ended, count(*) AS walked
        FROM ({walk}) AS oldest
    """)  # noqa: S608 - made of constants
    for which, walk in _WALK.items()
}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Events from `since` on and before `until`, and of those from `resume` on, where a call before this one ended."""

    since: datetime
    until: datetime | None = None
    resume: UUID | None = None

    @property
    def bounds(self) -> tuple[UUID, UUID]:
        """The first id that is in, and the first that is not."""
        first, last = first_uuid7(self.since), UUID(int=2**128 - 1)
        return max(first, self.resume or first), last if self.until is None else first_uuid7(self.until)


class Recovered(NamedTuple):
    """How many are sent again; `resume` is the event to go on with, None if there are no more."""

    sent: int
    resume: UUID | None


async def check_open(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID, *, hold: bool = True) -> None:
    """Make sure that an endpoint is sent to, and, to `hold` it, that its row is there until this transaction ends; it
    may be disabled or deleted by its tenant meanwhile.

    Raises `MedialaneError`: not_found if the tenant has no such one or has deleted it, webhook_disabled.
    """
    values = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    row = (await connection.execute(_HOLD if hold else _READ, values)).one_or_none()
    if row is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, "There is no such webhook endpoint.")
    if not row.enabled:
        detail = f"Nothing is sent to this endpoint. {row.disabled_reason or ''}".rstrip()
        raise MedialaneError(ErrorCode.WEBHOOK_DISABLED, detail)


async def resend(
    connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID, delivery_id: UUID, *, actor: str
) -> None:
    """Send a delivery again that has ended, whatever came of it, and note who did.

    Raises `MedialaneError`: not_found, webhook_disabled, delivery_under_way while it is sent or waits to be.
    """
    await check_open(connection, tenant_id, endpoint_id)
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "id": delivery_id}
    if (await connection.execute(_RESEND, key)).one_or_none() is not None:
        await audit.note(
            connection, actor=actor, action="webhook.resend", tenant_id=tenant_id, subject=str(delivery_id),
            detail={"endpoint": str(endpoint_id)},
        )  # fmt: skip
        return
    state = (await connection.execute(_STATE, key)).scalar_one_or_none()
    if state is None:
        raise MedialaneError(ErrorCode.NOT_FOUND, "There is no such delivery to this endpoint.")
    when = "is being sent" if state == DeliveryState.SENDING else "waits for its next attempt"
    raise MedialaneError(ErrorCode.DELIVERY_UNDER_WAY, f"The delivery {when}.")


async def recover(
    connection: AsyncConnection,
    tenant_id: UUID,
    endpoint_id: UUID,
    span: Span,
    which: Which = Which.DEAD,
    *,
    actor: str,
    most: int = MOST_RECOVERED,
    delay_s: float = 0.0,
    spread_s: float = SPREAD_S,
) -> Recovered:
    """Send again what has ended among the first `most` deliveries to an endpoint, or the first `most` dead ones.

    They become due one after the other, `spread_s` apart, from `delay_s` from now on; it is noted who did it. Raises as
    `check_open` does.
    """
    await check_open(connection, tenant_id, endpoint_id)
    limits = {"most": most, "delay_s": delay_s, "spread_s": spread_s}
    row = (await connection.execute(_RECOVER[which], _keys(tenant_id, endpoint_id, span) | limits)).one()
    if row.sent:
        await audit.note(
            connection, actor=actor, action="webhook.recover", tenant_id=tenant_id, subject=str(endpoint_id),
            detail={"state": which, "deliveries": row.sent, "since": span.since.isoformat(),
                    "until": span.until and span.until.isoformat()},
        )  # fmt: skip
    return Recovered(row.sent, row.resume)


async def taken_s(connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID) -> float:
    """For how many seconds what was sent again to an endpoint before goes on to become due; `MOST_AHEAD_S` at most."""
    values = {
        "tenant_id": tenant_id, "endpoint_id": endpoint_id, "ahead_s": MOST_AHEAD_S, "most": _MOST_RETRIES,
    }  # fmt: skip
    last_s: float | None = (await connection.execute(_LAST_DUE, values)).scalar_one_or_none()
    return max(0.0, last_s or 0.0)


async def count_recoverable(
    connection: AsyncConnection, tenant_id: UUID, endpoint_id: UUID, span: Span, which: Which = Which.DEAD
) -> tuple[int, bool]:
    """How many `recover` would send again, call after call, and whether there are more than are counted.

    Raises as `check_open` does.
    """
    await check_open(connection, tenant_id, endpoint_id, hold=False)
    values = _keys(tenant_id, endpoint_id, span) | {"most": MOST_COUNTED}
    row = (await connection.execute(_COUNT[which], values)).one()
    return min(row.ended, MOST_COUNTED), row.walked > MOST_COUNTED


def _keys(tenant_id: UUID, endpoint_id: UUID, span: Span) -> dict[str, UUID]:
    first, beyond = span.bounds
    return {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "first": first, "beyond": beyond}
