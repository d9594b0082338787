"""Webhook deliveries: rows made from events, leased by an agent, tried, and settled.

Every statement works on many rows at once, given as one JSON text (Postgres arrays of texts full of quotes cost ten
times as much to write): an agent sends hundreds of requests a second, and a round trip for each would be most of its
work. Pauses and leases are counted on the database's clock.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.json_text import few, json_text
from connectors.postgres.locks import UP_FOR_A_LEASE
from schemas.states import DeliveryState


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may get deliveries; `secret` is sealed (`connectors.secrets`), as is the one before it, if
    deliveries are still signed with that, too.
    """

    id: UUID
    tenant_id: UUID
    url: str
    secret: bytes
    secret_old: bytes | None = None
    events: tuple[str, ...]
    since: datetime  # what happened earlier is not sent


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to be made; `leased`: its first attempt begins as soon as it is committed."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    asset_id: UUID
    seq: int
    payload: str
    traceparent: str | None
    leased: bool


class LeasedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that this agent owns for one attempt, number `attempt` from 1, fenced by `epoch`.

    It is signed with `secret` and, if there is one, `secret_old`; both are sealed.
    `attempts_before` were made before the delivery was last sent again; None if it never was.
    """

    id: UUID
    endpoint_id: UUID
    url: str
    secret: bytes
    secret_old: bytes | None = None
    event_id: UUID
    event_type: str
    payload: str
    traceparent: str | None
    epoch: int
    attempt: int
    attempts_before: int | None = None

    @property
    def first(self) -> bool:
        """Whether nothing was tried before, nor given up: then its age is how late we are."""
        return self.attempt == 1 and self.attempts_before is None

    @property
    def tries(self) -> int:
        """Which attempt this is of its schedule, from 1."""
        return self.attempt - (self.attempts_before or 0)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: `state` is delivered, dead, or waiting again after `pause_s` seconds. One that was not
    `sent` was none: the delivery has it left, and there is no trace of it.
    """

    id: UUID
    epoch: int
    attempt: int
    state: DeliveryState
    pause_s: float | None
    sent: bool
    outcome: str
    status: int | None
    response: str
    traceparent: str | None


class DueEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with due deliveries, and for how long the oldest has been due, seconds."""

    endpoint_id: UUID
    tenant_id: UUID
    oldest_s: float


# Of the statement's time: one that moves on while it runs would have Postgres read every endpoint for a lease.
_OLD_IN_USE = "CASE WHEN secret_old_until > statement_timestamp() THEN secret_old END AS secret_old"

# Until commit their rows stay, to which the inserts that follow refer. Tenants may disable or delete them, which only
# marks the rows: what was made is then given up when it comes due, but for first attempts that begin at once.
_SUBSCRIBERS = sa.text(f"""
    SELECT id, tenant_id, url, secret, {_OLD_IN_USE}, events, coalesce(sends_since, created_at) AS since
    FROM webhook_endpoints
    WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND enabled AND deleted_at IS NULL
    ORDER BY id FOR KEY SHARE
""")  # noqa: S608 - made of constants
_INSERT = sa.text("""
    WITH fresh AS (
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload,
            traceparent, state, attempts, owner, lease_until, due_at)
        SELECT id, tenant_id, endpoint_id, event_id, event_type, asset_id, seq, payload, traceparent,
            CASE WHEN leased THEN 'sending' ELSE 'waiting' END, leased::int, CASE WHEN leased THEN :owner END,
            CASE WHEN leased THEN clock_timestamp() + :lease_s * interval '1 second' END,
            CASE WHEN NOT leased THEN clock_timestamp() END
        FROM json_to_recordset(CAST(:rows AS json)) AS given (id uuid, tenant_id uuid, endpoint_id uuid, event_id uuid,
            event_type text, asset_id uuid, seq bigint, payload text, traceparent text, leased boolean)
        ON CONFLICT (endpoint_id, event_id) DO NOTHING
        RETURNING id, tenant_id, attempts
    ), first_attempts AS (
        INSERT INTO webhook_attempts (delivery_id, attempt, tenant_id)
        SELECT id, attempts, tenant_id FROM fresh WHERE attempts > 0
    )
    SELECT id FROM fresh
""")
_LEASE = sa.text(f"""
    WITH picked AS (
        SELECT due.id FROM unnest(CAST(:endpoints AS uuid[]), CAST(:counts AS int[])) AS wanted (endpoint_id, count)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries
            WHERE endpoint_id = wanted.endpoint_id AND state = 'waiting' AND due_at <= statement_timestamp()
            ORDER BY due_at LIMIT wanted.count FOR NO KEY UPDATE SKIP LOCKED
        ) AS due
    ), leased AS (
        UPDATE webhook_deliveries d SET epoch = epoch + 1, due_at = NULL,
            state = CASE WHEN e.open THEN 'sending' ELSE 'dead' END,
            attempts = attempts + e.open::int,
            owner = CASE WHEN e.open THEN :owner END,
            lease_until = CASE WHEN e.open THEN clock_timestamp() + :lease_s * interval '1 second' END,
            finished_at = CASE WHEN NOT e.open THEN clock_timestamp() END
        FROM picked, (
            SELECT id, url, secret, {_OLD_IN_USE}, enabled AND deleted_at IS NULL AS open FROM webhook_endpoints
        ) AS e
        WHERE d.id = picked.id AND e.id = d.endpoint_id
        RETURNING d.id, d.tenant_id, d.endpoint_id, e.url, e.secret, e.secret_old, d.event_id, d.event_type, d.payload,
            d.traceparent, d.epoch, d.attempts AS attempt, d.attempts_before, d.state
    ), next_attempts AS (
        INSERT INTO webhook_attempts (delivery_id, attempt, tenant_id)
        SELECT id, attempt, tenant_id FROM leased WHERE state = 'sending'
    )
    SELECT * FROM leased
""")  # noqa: S608 - made of constants
# A loose index scan: one probe per endpoint that has anything waiting, however much that is.
_DUE = sa.text("""
    WITH RECURSIVE waiting AS (
        (SELECT endpoint_id FROM webhook_deliveries WHERE state = 'waiting' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.endpoint_id FROM webhook_deliveries d
                WHERE d.state = 'waiting' AND d.endpoint_id > waiting.endpoint_id ORDER BY d.endpoint_id LIMIT 1)
        FROM waiting WHERE waiting.endpoint_id IS NOT NULL
    )
    SELECT waiting.endpoint_id, first.tenant_id,
        extract(epoch FROM clock_timestamp() - first.due_at)::float8 AS oldest_s
    FROM waiting CROSS JOIN LATERAL (
        SELECT tenant_id, due_at FROM webhook_deliveries d
        WHERE d.endpoint_id = waiting.endpoint_id AND d.state = 'waiting' ORDER BY due_at LIMIT 1
    ) AS first
    WHERE first.due_at <= statement_timestamp() ORDER BY first.due_at
""")
# The newest first, in the order of the index that is made for it: if more came due at once than are asked for, what was
# left out is what an earlier look may have seen.
_NEWLY_DUE = sa.text("""
    SELECT endpoint_id, tenant_id FROM (
        SELECT endpoint_id, tenant_id, due_at FROM webhook_deliveries
        WHERE state = 'waiting' AND due_at <= statement_timestamp()
            AND due_at > statement_timestamp() - :since_s * interval '1 second'
        ORDER BY due_at DESC NULLS LAST LIMIT :most
    ) AS newest GROUP BY endpoint_id, tenant_id ORDER BY min(due_at)
""")
# After a start agents first write the results that they hold.
_EXPIRE = sa.text(f"""
    WITH gone AS (
        SELECT id FROM webhook_deliveries WHERE state = 'sending' AND lease_until < statement_timestamp()
            AND {UP_FOR_A_LEASE}
        ORDER BY lease_until LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE webhook_deliveries d SET state = 'waiting', epoch = epoch + 1, owner = NULL, lease_until = NULL,
        due_at = clock_timestamp()
    FROM gone WHERE d.id = gone.id
""")  # noqa: S608 - made of constants
_RESULT_COLUMNS = """
    id uuid, epoch int, attempt int, state text, pause_s float8, sent boolean, outcome text, status int, response text,
    traceparent text
"""
_SETTLE = sa.text(f"""
    WITH given AS {few("rows", _RESULT_COLUMNS)}, settled AS (
        UPDATE webhook_deliveries d SET state = given.state, owner = NULL, lease_until = NULL,
            attempts = attempts - (NOT given.sent)::int,
            due_at = clock_timestamp() + given.pause_s * interval '1 second',
            finished_at = CASE WHEN given.state <> 'waiting' THEN clock_timestamp() END
        FROM given WHERE d.id = given.id AND d.epoch = given.epoch AND d.state = 'sending'
        RETURNING d.id, given.attempt, given.sent
    ), told AS (
        UPDATE webhook_attempts a SET finished_at = clock_timestamp(), outcome = given.outcome, status = given.status,
            response = given.response, traceparent = given.traceparent
        FROM given WHERE a.delivery_id = given.id AND a.attempt = given.attempt AND given.sent
    ), untold AS (
        DELETE FROM webhook_attempts a USING settled
        WHERE a.delivery_id = settled.id AND a.attempt = settled.attempt AND NOT settled.sent
    )
    SELECT id FROM settled
""")  # noqa: S608 - made of constants
_RELEASE = sa.text(f"""
    UPDATE webhook_deliveries d SET state = 'waiting', epoch = d.epoch + 1, owner = NULL, lease_until = NULL,
        due_at = clock_timestamp()
    FROM {few("rows", "id uuid, epoch int")} AS given
    WHERE d.id = given.id AND d.epoch = given.epoch AND d.state = 'sending'
""")  # noqa: S608 - made of constants
_DISABLE = sa.text("""
    UPDATE webhook_endpoints SET enabled = false, disabled_reason = :reason WHERE id = :id AND url = :url AND enabled
""")
_DISABLED = sa.text("SELECT count(*) FROM webhook_endpoints WHERE NOT enabled AND deleted_at IS NULL")


async def subscribers(connection: AsyncConnection, tenants: Collection[UUID]) -> dict[UUID, list[Subscriber]]:
    """The enabled endpoints of each tenant; their rows are there until this transaction ends."""
    found: dict[UUID, list[Subscriber]] = {}
    for row in await connection.execute(_SUBSCRIBERS, {"tenants": list(tenants)}):
        subscriber = Subscriber(
            id=row.id,
            tenant_id=row.tenant_id,
            url=row.url,
            secret=bytes(row.secret),
            secret_old=_bytes(row.secret_old),
            events=tuple(row.events),
            since=row.since,
        )
        found.setdefault(row.tenant_id, []).append(subscriber)
    return found


async def insert(
    connection: AsyncConnection, deliveries: Sequence[NewDelivery], *, owner: str, lease_s: float
) -> set[UUID]:
    """Make deliveries, and the first attempt of those that are leased; returns the ids of those that were new.

    One that exists already for its endpoint and event is left as it is.
    """
    values = {"rows": json_text(deliveries), "owner": owner, "lease_s": lease_s}
    return set((await connection.execute(_INSERT, values)).scalars())


async def lease(
    connection: AsyncConnection, wanted: Mapping[UUID, int], *, owner: str, lease_s: float
) -> tuple[list[LeasedDelivery], list[UUID]]:
    """Take up to so many due deliveries of each endpoint, oldest first, for one attempt each.

    Returns them, and the endpoint of each one that was given up instead, since it is disabled or deleted.
    """
    given = {"endpoints": list(wanted), "counts": list(wanted.values()), "owner": owner, "lease_s": lease_s}
    rows = (await connection.execute(_LEASE, given)).all()
    leased = [
        LeasedDelivery(
            id=row.id,
            endpoint_id=row.endpoint_id,
            url=row.url,
            secret=bytes(row.secret),
            secret_old=_bytes(row.secret_old),
            event_id=row.event_id,
            event_type=row.event_type,
            payload=row.payload,
            traceparent=row.traceparent,
            epoch=row.epoch,
            attempt=row.attempt,
            attempts_before=row.attempts_before,
        )
        for row in rows
        if row.state == DeliveryState.SENDING
    ]
    return leased, [row.endpoint_id for row in rows if row.state == DeliveryState.DEAD]


async def due_endpoints(connection: AsyncConnection) -> list[DueEndpoint]:
    """Every endpoint with due deliveries, the longest overdue first."""
    rows = await connection.execute(_DUE)
    return [DueEndpoint(endpoint_id=row.endpoint_id, tenant_id=row.tenant_id, oldest_s=row.oldest_s) for row in rows]


async def newly_due(connection: AsyncConnection, *, since_s: float, most: int) -> dict[UUID, UUID]:
    """Endpoints with deliveries that came due in the last `since_s` seconds, as the newest `most` of these say, each
    with its tenant; the one first due comes first.

    Costs what came due, where `due_endpoints` costs a probe for each endpoint that anything waits for.
    """
    rows = await connection.execute(_NEWLY_DUE, {"since_s": since_s, "most": most})
    return {row.endpoint_id: row.tenant_id for row in rows}


async def expire(connection: AsyncConnection, *, batch: int, lease_s: float) -> int:
    """Make deliveries due again whose agent let the lease run out; returns how many.

    None while this Postgres has run for less than a lease.
    """
    return (await connection.execute(_EXPIRE, {"batch": batch, "lease_s": lease_s})).rowcount


async def settle(connection: AsyncConnection, results: Sequence[Settlement]) -> set[UUID]:
    """Record attempts and move their deliveries on; returns those that were still this agent's.

    An attempt is recorded even if its delivery was taken over meanwhile; one that was not sent counts then, unrecorded.
    """
    return set((await connection.execute(_SETTLE, {"rows": json_text(results)})).scalars())


async def release(connection: AsyncConnection, deliveries: Sequence[LeasedDelivery]) -> int:
    """Give deliveries back, due at once; returns how many were still this agent's."""
    fences = [{"id": delivery.id, "epoch": delivery.epoch} for delivery in deliveries]
    return (await connection.execute(_RELEASE, {"rows": json_text(fences)})).rowcount


async def disable_endpoint(connection: AsyncConnection, endpoint_id: UUID, *, url: str, reason: str) -> bool:
    """Stop sending to an endpoint, if `url` is still its address; what waits for it is given up when it comes due.

    False: it was disabled already, or has moved: what an old address says does not hold for the new one.
    """
    return (await connection.execute(_DISABLE, {"id": endpoint_id, "url": url, "reason": reason})).rowcount == 1


async def count_disabled(connection: AsyncConnection) -> int:
    """How many endpoints are registered and disabled."""
    return int((await connection.execute(_DISABLED)).scalar_one())


def _bytes(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)
