"""The only way by which anything reaches Kafka: rows of the outbox, written in the transaction that makes them true."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
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


# Taking the numbers locks the asset row until commit, so seq order is commit order.
_TAKE_SEQ = sa.text("""
    UPDATE assets SET event_seq = event_seq + :count WHERE id = :asset_id
    RETURNING tenant_id, generation, event_seq, events_kpart, clock_timestamp() AS now
""")
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
_INSERT_OUTBOX = sa.text("""
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, tenant_id, type, seq, kpart, payload, traceparent)
    VALUES (:id, :route, :subject_id, :key, :tenant, :type, :seq, :kpart, :payload, :traceparent)
""")
_PLACEMENT = sa.text("""
    SELECT kpart FROM placements WHERE tenant_id = :tenant_id AND topic = :route AND bucket = :bucket
""")


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
    first = row.event_seq - len(makers) + 1
    common = {"time": row.now, "tenant_id": row.tenant_id, "asset_id": asset_id, "generation": row.generation}
    events = tuple(maker(id=uuid7(), seq=first + index, **common) for index, maker in enumerate(makers))
    await connection.execute(
        _INSERT_EVENTS,
        {
            "asset_id": asset_id, "tenant_id": row.tenant_id, "generation": row.generation, "now": row.now,
            "route": EVENTS.route, "key": str(asset_id), "tenant": str(row.tenant_id), "kpart": row.events_kpart,
            "traceparent": traceparent, "ids": [event.id for event in events], "seqs": [event.seq for event in events],
            "types": [event.event_type for event in events], "subjects": [event.subject for event in events],
            "payloads": [encode_event(event).decode() for event in events],
        },
    )  # fmt: skip
    return Emitted(row.now, events)


async def placement(connection: AsyncConnection, tenant_id: UUID, route: str, bucket: int = 0) -> int | None:
    """The partition on which a tenant's records of a topic go now; None leaves it to the key's hash."""
    found = await connection.execute(_PLACEMENT, {"tenant_id": tenant_id, "route": route, "bucket": bucket})
    kpart: int | None = found.scalar_one_or_none()
    return kpart


async def dispatch(
    connection: AsyncConnection,
    *,
    job_id: UUID,
    tenant_id: UUID,
    asset_id: UUID,
    stage: Stage,
    number: int,
    bucket: int = 0,
    traceparent: str | None,
) -> None:
    """Write the dispatch of a job: an offer to claim it while its row's counter is `number`."""
    topic = job_topic(stage)
    record = Dispatch(job_id=job_id, tenant_id=tenant_id, asset_id=asset_id, stage=stage, dispatch=number)
    await write(
        connection,
        route=topic.route,
        subject_id=str(job_id),
        key=str(tenant_id),
        tenant_id=tenant_id,
        record_type=DISPATCH_TYPE,
        payload=msgspec.json.encode(record).decode(),
        kpart=await placement(connection, tenant_id, topic.route, bucket),
        traceparent=traceparent,
    )


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
) -> UUID:
    """Write one outbox row as it is; returns its id (the record's `ce_id`)."""
    values: dict[str, Any] = {
        "id": row_id or uuid7(), "route": route, "subject_id": subject_id, "key": key, "type": record_type, "seq": None,
        "tenant": str(tenant_id) if tenant_id else None, "kpart": kpart, "payload": payload, "traceparent": traceparent,
    }  # fmt: skip
    await connection.execute(_INSERT_OUTBOX, values)
    identifier: UUID = values["id"]
    return identifier
