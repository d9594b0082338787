"""The only way by which anything reaches Kafka: rows of the outbox, written in the transaction that makes them true."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import Event, encode_event
from schemas.ids import uuid7
from schemas.records import DISPATCH_TYPE, Dispatch
from schemas.states import Stage
from schemas.topics import EVENTS, job_topic

EventMaker = Callable[..., Event]
"""An event type with its own fields bound (`functools.partial`); `emit` adds what every event carries."""


class Emitted(NamedTuple):
    """What `emit` wrote."""

    time: datetime
    events: tuple[Event, ...]


class Numbered(NamedTuple):
    """Sequence numbers that were taken for an asset, up to `last_seq`; the columns of `TAKEN`, in its order."""

    tenant_id: UUID
    generation: int
    last_seq: int
    events_kpart: int | None
    now: datetime


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


TAKEN = "tenant_id, generation, event_seq AS last_seq, events_kpart, clock_timestamp() AS now"
"""What a statement that adds to an asset's `event_seq` has to return."""

# Taking the numbers locks the asset row until commit, so seq order is commit order.
_TAKE_SEQ = sa.text(
    f"UPDATE assets SET event_seq = event_seq + :count WHERE id = :asset_id RETURNING {TAKEN}"  # noqa: S608 - constant
)
# One round trip for any number of events: into the asset's timeline and into the outbox, in the order of their numbers.
_INSERT_EVENTS = sa.text("""
    WITH event AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS bigint[]), CAST(:types AS text[]),
                             CAST(:subjects AS text[]), CAST(:payloads AS text[]))
            AS e (id, seq, type, subject, payload)
    ), timeline AS (
        INSERT INTO asset_events (asset_id, seq, tenant_id, id, generation, type, subject, payload, created_at)
        SELECT :asset_id, seq, :tenant_id, id, :generation, type, subject, payload, :now FROM event
    )
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, kpart, payload, traceparent)
    SELECT id, :route, :key, :key, :tenant, type, seq, CAST(:kpart AS int), payload, CAST(:traceparent AS text)
    FROM event ORDER BY seq
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
) -> Emitted:
    """Write events of one asset, in order, under its next sequence numbers.

    Takes the asset's row lock: by the lock order (assets, content, jobs, tenant) call it before touching a job row that
    another transaction may hold. Raises `LookupError` if the asset is gone.
    """
    row = (await connection.execute(_TAKE_SEQ, {"asset_id": asset_id, "count": len(makers)})).one_or_none()
    if row is None:
        raise LookupError(f"asset {asset_id} does not exist")
    return await record(connection, asset_id, Numbered(*row), makers, traceparent=traceparent)


async def record(
    connection: AsyncConnection,
    asset_id: UUID,
    numbered: Numbered,
    makers: Sequence[EventMaker],
    *,
    traceparent: str | None,
) -> Emitted:
    """Write events whose numbers the caller took itself, in a statement that it had to make on the asset anyway."""
    first = numbered.last_seq - len(makers) + 1
    common = {
        "time": numbered.now, "tenant_id": numbered.tenant_id, "asset_id": asset_id, "generation": numbered.generation,
    }  # fmt: skip
    events = tuple(maker(id=uuid7(), seq=first + index, **common) for index, maker in enumerate(makers))
    await connection.execute(
        _INSERT_EVENTS,
        {
            "asset_id": asset_id, "tenant_id": numbered.tenant_id, "generation": numbered.generation,
            "now": numbered.now, "route": EVENTS.route, "key": str(asset_id), "tenant": str(numbered.tenant_id),
            "kpart": numbered.events_kpart, "traceparent": traceparent, "ids": [event.id for event in events],
            "seqs": [event.seq for event in events], "types": [event.event_type for event in events],
            "subjects": [event.subject for event in events],
            "payloads": [encode_event(event).decode() for event in events],
        },
    )  # fmt: skip
    return Emitted(numbered.now, events)


async def dispatch(
    connection: AsyncConnection,
    *,
    job_id: UUID,
    tenant_id: UUID,
    asset_id: UUID,
    stage: str,
    number: int,
    kpart: int | None,
    traceparent: str | None,
    route: str | None = None,
) -> None:
    """Write the dispatch of a job: an offer to claim it while its row's counter is `number`.

    `kpart` is what the statement that queued the row has put there; None lets the key's hash decide.
    With `route`, the topic's, the stage may be one that only a newer release knows: its row's dispatch is passed on.
    """
    offer = Dispatch(job_id=job_id, tenant_id=tenant_id, asset_id=asset_id, stage=cast("Stage", stage), dispatch=number)
    await write(
        connection, route=route or job_topic(Stage(stage)).route, subject_id=str(job_id), key=str(tenant_id),
        tenant_id=tenant_id, record_type=DISPATCH_TYPE, payload=msgspec.json.encode(offer).decode(), kpart=kpart,
        traceparent=traceparent,
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
