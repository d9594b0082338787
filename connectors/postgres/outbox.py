"""The only way by which anything reaches Kafka: rows of the outbox, written in the transaction that makes them true."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.json_text import json_text
from schemas.events import Event, encode_event
from schemas.ids import uuid7
from schemas.records import DISPATCH_TYPE, Dispatch
from schemas.states import Stage
from schemas.topics import EVENTS

EventMaker = Callable[..., Event]
"""An event type with its own fields bound (`functools.partial`); `emit` adds what every event carries."""


class Numbered(NamedTuple):
    """Sequence numbers that were taken for an asset, up to `last_seq`; the columns of `TAKEN`, in its order."""

    tenant_id: UUID
    generation: int
    last_seq: int
    events_kpart: int | None
    now: datetime


class Emission(NamedTuple):
    """Events of one asset, to be written in this order."""

    asset_id: UUID
    makers: Sequence[EventMaker]
    traceparent: str | None


class Recorded(NamedTuple):
    """Events of one asset whose numbers were taken."""

    asset_id: UUID
    numbered: Numbered
    makers: Sequence[EventMaker]
    traceparent: str | None


class Offer(NamedTuple):
    """A dispatch: an offer to claim a job while its row's counter is `number`.

    `kpart` is what the statement that queued the row has put there; None lets the key's hash decide. `route` is the
    topic's: the stage may be one that only a newer release knows, whose dispatch is passed on all the same.
    """

    job_id: UUID
    tenant_id: UUID
    asset_id: UUID
    stage: str
    route: str
    number: int
    kpart: int | None
    traceparent: str | None


class ErrorHeaders(NamedTuple):
    """What the connector places on a dead letter's record; columns `error_*` of the outbox, in this order."""

    topic: str
    kpart: str | None
    koffset: str | None
    group: str | None
    deliveries: str
    message: str
    code: str
    attempts: str


MOST_PAYLOAD_BYTES = 65_536
"""How long a row's payload may be; the table refuses more."""

TAKEN = "tenant_id, generation, event_seq AS last_seq, events_kpart, clock_timestamp() AS now"
"""What a statement that adds to an asset's `event_seq` has to return."""

WANTED = """
    wanted AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[])) AS w (id, count))
"""
"""For a statement's WITH: how many numbers to take for which assets (`wanted_of`)."""

# Taking the numbers locks the asset row until commit, so seq order is commit order.
_TAKE_SEQS = sa.text(f"""
    WITH {WANTED}
    UPDATE assets SET event_seq = event_seq + wanted.count FROM wanted WHERE assets.id = wanted.id
    RETURNING assets.id, {TAKEN}
""")  # noqa: S608 - made of constants
# One round trip for any number of events: into their assets' timelines and into the outbox, in the order given, which
# is that of their numbers.
_INSERT_EVENTS = sa.text("""
    WITH event AS MATERIALIZED (
        SELECT * FROM ROWS FROM (json_to_recordset(CAST(:rows AS json)) AS (id uuid, asset_id uuid, tenant_id uuid,
                generation int, seq bigint, type text, subject text, payload text, time timestamptz, kpart int,
                traceparent text)) WITH ORDINALITY
            AS e (id, asset_id, tenant_id, generation, seq, type, subject, payload, time, kpart, traceparent, place)
    ), timeline AS (
        INSERT INTO asset_events (asset_id, seq, tenant_id, id, generation, type, subject, payload, created_at)
        SELECT asset_id, seq, tenant_id, id, generation, type, subject, payload, time FROM event
    )
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, kpart, payload, traceparent)
    SELECT id, :route, CAST(asset_id AS text), CAST(asset_id AS text), CAST(tenant_id AS text), type, seq, kpart,
        payload, traceparent
    FROM event ORDER BY place
""")
_INSERT_DISPATCHES = sa.text("""
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, kpart, payload, traceparent)
    SELECT id, route, subject, tenant, tenant, :type, kpart, payload, traceparent
    FROM ROWS FROM (json_to_recordset(CAST(:rows AS json)) AS (id uuid, route text, subject text, tenant text,
            kpart int, payload text, traceparent text)) WITH ORDINALITY
        AS d (id, route, subject, tenant, kpart, payload, traceparent, place)
    ORDER BY place
""")
_ERRORS = [f"error_{name}" for name in ("topic", "kpart", "koffset", "group", "count", "message", "code", "attempts")]
_INSERT_OUTBOX = sa.text(f"""
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, kpart, payload, traceparent,
        {", ".join(_ERRORS)})
    VALUES (:id, :route, :subject_id, :key, :tenant, :type, :seq, :kpart, :payload, :traceparent,
        {", ".join(f":{name}" for name in _ERRORS)})
""")  # noqa: S608 - made of constants


async def emit(
    connection: AsyncConnection, asset_id: UUID, makers: Sequence[EventMaker], *, traceparent: str | None
) -> None:
    """Write events of one asset, in order, under its next sequence numbers.

    Takes the asset's row lock: by the lock order (assets, content, jobs, tenant) call it before touching a job row that
    another transaction may hold. Raises `LookupError` if the asset is gone.
    """
    await record_all(connection, await take(connection, [Emission(asset_id, makers, traceparent)]))


async def take(connection: AsyncConnection, emissions: Sequence[Emission]) -> list[Recorded]:
    """Take the numbers of events that are still to be written, of one asset or several. Raises `LookupError`.

    The caller has locked the assets, if they are more than one, in the order of their ids.
    """
    return spread(await connection.execute(_TAKE_SEQS, wanted_of(emissions)), emissions) if emissions else []


def wanted_of(emissions: Sequence[Emission]) -> dict[str, Any]:
    """The values of `WANTED` in a statement that takes these emissions' numbers."""
    counts: Counter[UUID] = Counter()
    for emission in emissions:
        counts[emission.asset_id] += len(emission.makers)
    return {"ids": list(counts), "counts": list(counts.values())}


def spread(taken: Iterable[Sequence[Any]], emissions: Sequence[Emission]) -> list[Recorded]:
    """Give each emission its numbers out of what was taken for its asset: rows of the asset's id and `TAKEN`.

    Raises `LookupError` if an asset is gone.
    """
    last = {row[0]: Numbered(*row[1:]) for row in taken}
    recorded = []
    for emission in reversed(emissions):
        numbered = last.get(emission.asset_id)
        if numbered is None:
            raise LookupError(f"asset {emission.asset_id} does not exist")
        recorded.append(Recorded(emission.asset_id, numbered, emission.makers, emission.traceparent))
        last[emission.asset_id] = numbered._replace(last_seq=numbered.last_seq - len(emission.makers))
    return recorded[::-1]


async def record_all(connection: AsyncConnection, recorded: Sequence[Recorded]) -> None:
    """Write events whose numbers were taken, of one asset or several, in this order."""
    rows = [
        {
            "id": event.id, "asset_id": event.asset_id, "tenant_id": event.tenant_id, "generation": event.generation,
            "seq": event.seq, "type": event.event_type, "subject": event.subject, "time": event.time,
            "payload": encode_event(event).decode(), "kpart": one.numbered.events_kpart, "traceparent": one.traceparent,
        }
        for one in recorded for event in _made(one)
    ]  # fmt: skip
    await connection.execute(_INSERT_EVENTS, {"route": EVENTS.route, "rows": json_text(rows)})


def _made(one: Recorded) -> tuple[Event, ...]:
    numbered, first = one.numbered, one.numbered.last_seq - len(one.makers) + 1
    common = {
        "time": numbered.now, "tenant_id": numbered.tenant_id, "asset_id": one.asset_id,
        "generation": numbered.generation,
    }  # fmt: skip
    return tuple(maker(id=uuid7(), seq=first + index, **common) for index, maker in enumerate(one.makers))


async def dispatch(connection: AsyncConnection, offers: Sequence[Offer]) -> None:
    """Write dispatches, in the order given."""
    rows = [
        {
            "id": uuid7(), "route": offer.route, "subject": offer.job_id, "tenant": offer.tenant_id,
            "kpart": offer.kpart, "payload": json_text(_record(offer)), "traceparent": offer.traceparent,
        }
        for offer in offers
    ]  # fmt: skip
    await connection.execute(_INSERT_DISPATCHES, {"type": DISPATCH_TYPE, "rows": json_text(rows)})


def _record(offer: Offer) -> Dispatch:
    return Dispatch(
        job_id=offer.job_id, tenant_id=offer.tenant_id, asset_id=offer.asset_id, stage=cast("Stage", offer.stage),
        dispatch=offer.number,
    )  # fmt: skip


async def write(
    connection: AsyncConnection,
    *,
    route: str,
    subject_id: str,
    key: str,
    tenant_id: UUID | None,
    record_type: str,
    payload: str,
    kpart: int | None = None,
    traceparent: str | None = None,
    row_id: UUID | None = None,
    errors: ErrorHeaders | None = None,
) -> UUID:
    """Write one outbox row as it is; returns its id (the record's `ce_id`)."""
    values: dict[str, Any] = {
        "id": row_id or uuid7(), "route": route, "subject_id": subject_id, "key": key, "type": record_type, "seq": None,
        "tenant": str(tenant_id) if tenant_id else None, "kpart": kpart, "payload": payload, "traceparent": traceparent,
        **dict(zip(_ERRORS, errors or [None] * len(_ERRORS), strict=True)),
    }  # fmt: skip
    await connection.execute(_INSERT_OUTBOX, values)
    identifier: UUID = values["id"]
    return identifier
