"""Credit: at most so many dispatches per tenant and topic in Kafka, so that what a lane sees is enough to be fair.

It is counted from the rows, never kept as a number: a race may overshoot by a few, and nothing can be lost. Whatever
leaves `queued` or `running` for good gives its credit to the tenant's next waiting job in the same transaction; the
keeper mends what a crash left.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from schemas.states import Stage
from schemas.topics import job_topic

REEMIT_AFTER_S = 30.0
"""How long a dispatch may go unclaimed before the keeper emits it again; doubles with every emission."""

_MAKE = sa.text("""
    WITH credit AS (
        SELECT (SELECT credits FROM tenants WHERE id = :tenant_id) > (
            SELECT count(*) FROM jobs WHERE tenant_id = :tenant_id AND topic = :topic AND state IN ('queued', 'running')
        ) AS free
    )
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, traceparent, state, reason, dispatch,
        emitted_at, next_emit_at, turn_at)
    SELECT :id, :tenant_id, :asset_id, :generation, :stage, :topic, :traceparent,
        CASE WHEN free THEN 'queued' ELSE 'waiting' END, CASE WHEN free THEN NULL ELSE 'credit' END,
        CASE WHEN free THEN 1 ELSE 0 END, CASE WHEN free THEN clock_timestamp() END,
        CASE WHEN free THEN clock_timestamp() + :reemit * interval '1 second' END,
        clock_timestamp() + :yields * interval '1 second'
    FROM credit
    RETURNING state = 'queued' AS queued
""")
QUEUE = """
    UPDATE jobs SET state = 'queued', reason = NULL, due_at = NULL, owner = NULL, lease_until = NULL,
        dispatch = dispatch + 1, emissions = 1, emitted_at = clock_timestamp(),
        next_emit_at = clock_timestamp() + :reemit * interval '1 second'
"""
RETURNING = "RETURNING jobs.id, jobs.tenant_id, jobs.asset_id, jobs.stage, jobs.dispatch, jobs.bucket, jobs.traceparent"
_NEXT = sa.text(f"""
    WITH next AS (
        SELECT id FROM jobs WHERE tenant_id = :tenant_id AND topic = :topic AND state = 'waiting' AND reason = 'credit'
        ORDER BY turn_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    {QUEUE} FROM next WHERE jobs.id = next.id {RETURNING}
""")  # noqa: S608 - made of constants
_MEND = sa.text(f"""
    WITH wanting AS (
        SELECT DISTINCT tenant_id, topic FROM jobs WHERE state = 'waiting' AND reason = 'credit'
    ), room AS (
        SELECT w.tenant_id, w.topic, t.credits - (
            SELECT count(*) FROM jobs j
            WHERE j.tenant_id = w.tenant_id AND j.topic = w.topic AND j.state IN ('queued', 'running')
        ) - (
            -- Lanes sent these back for want of room: others in their place would be sent back as well.
            SELECT count(*) FROM jobs j
            WHERE j.tenant_id = w.tenant_id AND j.topic = w.topic AND j.state = 'waiting' AND j.reason = 'cap'
                AND j.due_at IS NOT NULL
        ) AS free
        FROM wanting w JOIN tenants t ON t.id = w.tenant_id
    ), next AS (
        SELECT turn.id FROM room, LATERAL (
            SELECT id FROM jobs WHERE tenant_id = room.tenant_id AND topic = room.topic
                AND state = 'waiting' AND reason = 'credit'
            ORDER BY turn_at, id LIMIT greatest(room.free, 0) FOR NO KEY UPDATE SKIP LOCKED
        ) AS turn LIMIT :batch
    )
    {QUEUE} FROM next WHERE jobs.id = next.id {RETURNING}
""")  # noqa: S608 - made of constants


async def make_job(
    connection: AsyncConnection,
    *,
    job_id: UUID,
    tenant_id: UUID,
    asset_id: UUID,
    generation: int,
    stage: Stage,
    traceparent: str | None,
    yields_s: float = 0.0,
) -> bool:
    """Write a job and, if its tenant has credit, its dispatch; returns whether it was dispatched.

    `yields_s` puts it that much behind its tenant's other waiting jobs: for work that is not urgent.
    """
    values = {
        "id": job_id, "tenant_id": tenant_id, "asset_id": asset_id, "generation": generation, "stage": stage.value,
        "topic": job_topic(stage).route, "traceparent": traceparent, "reemit": REEMIT_AFTER_S, "yields": yields_s,
    }  # fmt: skip
    queued: bool = (await connection.execute(_MAKE, values)).scalar_one()
    if queued:
        await outbox.dispatch(
            connection, job_id=job_id, tenant_id=tenant_id, asset_id=asset_id, stage=stage, number=1,
            traceparent=traceparent,
        )  # fmt: skip
    return queued


async def pass_on(connection: AsyncConnection, tenant_id: UUID, stage: Stage) -> int:
    """Give the credit of a job that left to its tenant's next waiting one; returns how many were queued (0 or 1)."""
    values = {"tenant_id": tenant_id, "topic": job_topic(stage).route, "reemit": REEMIT_AFTER_S}
    return await emit_queued(connection, await connection.execute(_NEXT, values))


async def mend(connection: AsyncConnection, *, batch: int, reemit_s: float = REEMIT_AFTER_S) -> int:
    """Queue waiting jobs of tenants that have credit to spare; returns how many."""
    return await emit_queued(connection, await connection.execute(_MEND, {"batch": batch, "reemit": reemit_s}))


async def emit_queued(connection: AsyncConnection, rows: Iterable[sa.Row[Any]]) -> int:
    """Write the dispatches of rows that a statement ending in `RETURNING` has queued; returns how many."""
    count = 0
    for row in rows:
        await outbox.dispatch(
            connection, job_id=row.id, tenant_id=row.tenant_id, asset_id=row.asset_id, stage=Stage(row.stage),
            number=row.dispatch, bucket=row.bucket, traceparent=row.traceparent,
        )  # fmt: skip
        count += 1
    return count
