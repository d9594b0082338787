"""How far a job is: a number in its row that only grows, and an event for each of its steps."""

from functools import partial

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.locks import lock_assets
from connectors.postgres.protocol.jobs import ClaimedJob
from schemas.events import JobProgress

_ADVANCE = sa.text("""
    UPDATE jobs SET progress = :percent
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch AND progress < :percent RETURNING 1
""")


async def advance(connection: AsyncConnection, job: ClaimedJob, percent: int, *, traceparent: str | None) -> bool:
    """Write that a running job is so far, and `job.progress`.

    False, and nothing is written, if an earlier attempt was as far, or if the job is no longer ours.
    """
    await lock_assets(connection, [job.asset_id])
    values = {"job_id": job.job_id, "epoch": job.epoch, "percent": percent}
    if (await connection.execute(_ADVANCE, values)).one_or_none() is None:
        return False
    event = partial(JobProgress, job_id=job.job_id, stage=job.stage, percent=percent)
    await outbox.emit(connection, job.asset_id, [event], traceparent=traceparent)
    return True
