"""A job whose tenant has more in a lane than its share of the window goes back to its row for a while."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# Locked in the order of ids, as whoever takes several job rows does. What is not `queued` under the record's dispatch
# any more is left alone: its record is stale.
_SEND_BACK = sa.text("""
    WITH beyond AS MATERIALIZED (
        SELECT jobs.id, given.delay FROM jobs
        JOIN unnest(CAST(:ids AS uuid[]), CAST(:dispatches AS int[]), CAST(:delays AS double precision[]))
            AS given (id, dispatch, delay) ON given.id = jobs.id AND given.dispatch = jobs.dispatch
        WHERE jobs.state = 'queued' ORDER BY jobs.id FOR NO KEY UPDATE OF jobs
    )
    UPDATE jobs SET state = 'waiting', reason = 'cap', next_emit_at = NULL,
        due_at = clock_timestamp() + beyond.delay * interval '1 second'
    FROM beyond WHERE jobs.id = beyond.id
    RETURNING jobs.id
""")


class Excess(NamedTuple):
    """A dispatch that came too early, and after how many seconds it should come again."""

    job_id: UUID
    dispatch: int
    delay_s: float


async def send_back(connection: AsyncConnection, excess: Sequence[Excess]) -> set[UUID]:
    """Put queued jobs back to `waiting` until they are due; returns which ones. The others' records are stale.

    After the commit every one of the records is done with, and none of these jobs counts against its tenant's credit.
    """
    values = {
        "ids": [one.job_id for one in excess],
        "dispatches": [one.dispatch for one in excess],
        "delays": [one.delay_s for one in excess],
    }
    return set((await connection.execute(_SEND_BACK, values)).scalars())
