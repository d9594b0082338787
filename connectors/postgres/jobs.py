"""The job row's protocol, first half: claim, heartbeat, back to waiting, back to queued.

The row owns the work. Whoever changes a running job proves that it still holds the epoch, in the transaction that has
the effects; a proof that fails raises `FencedError` and takes the whole transaction back.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.credits import REEMIT_AFTER_S, pass_on
from connectors.postgres.placements import KPART_OF_JOB
from schemas.errors import ErrorCode
from schemas.events import JobStarted
from schemas.records import Dispatch, Origin
from schemas.states import JobClass, Stage, WaitReason
from schemas.topics import job_topic


class FencedError(Exception):
    """The job is no longer held under this epoch: somebody else owns it, or it is over. Discard what was done."""


Refusal = Literal["stale", "conflict"]
"""Why a claim got nothing: the row has moved on, or somebody holds it under this very dispatch."""


class ClaimedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job under a lease. `epoch` fences everything that is done for it from here on."""

    job_id: UUID
    tenant_id: UUID
    asset_id: UUID
    generation: int
    stage: Stage
    epoch: int
    attempts: int
    deaths: int
    traceparent: str | None
    content_sha256: bytes | None
    object_key: str
    etag: str
    size: int
    content_type: str
    file_name: str
    queued_at: datetime
    claimed_at: datetime
    job_class: JobClass = JobClass.PRIMARY
    origin: Origin | None = None


# One statement: lock the asset (lock order), then move the job if its counter still has the record's value.
_CLAIM = sa.text("""
    WITH asset AS MATERIALIZED (
        SELECT a.id, a.object_key, a.etag, a.size, a.content_type, a.file_name, a.state, j.started_at
        FROM jobs j JOIN assets a ON a.id = j.asset_id
        WHERE j.id = :job_id AND j.state = 'queued' AND j.dispatch = :dispatch
        FOR NO KEY UPDATE OF a
    )
    UPDATE jobs SET state = 'running', epoch = epoch + 1, owner = :owner, next_emit_at = NULL,
        lease_until = clock_timestamp() + :lease * interval '1 second',
        started_at = coalesce(jobs.started_at, clock_timestamp()), record_topic = :topic, record_kpart = :partition,
        record_koffset = :offset, record_group = :group
    FROM asset
    WHERE jobs.id = :job_id AND jobs.asset_id = asset.id AND jobs.state = 'queued' AND jobs.dispatch = :dispatch
    RETURNING jobs.id AS job_id, jobs.tenant_id, jobs.asset_id, jobs.generation, jobs.stage, jobs.epoch, jobs.attempts,
        jobs.deaths, jobs.traceparent, jobs.content_sha256, asset.object_key, asset.etag, asset.size,
        asset.content_type, asset.file_name, coalesce(jobs.emitted_at, jobs.created_at) AS queued_at,
        extract(epoch FROM clock_timestamp() - jobs.created_at)::float8 AS wait_s,
        clock_timestamp() AS claimed_at, jobs.job_class, asset.started_at IS NULL AS first
""")
_HELD = sa.text("SELECT 1 FROM jobs WHERE id = :job_id AND state = 'running' AND dispatch = :dispatch")
_PROCESSING = sa.text(f"""
    UPDATE assets SET state = CASE state WHEN 'uploaded' THEN 'processing' ELSE state END, event_seq = event_seq + 1
    WHERE id = :asset_id RETURNING {outbox.TAKEN}
""")  # noqa: S608 - made of constants
_HEARTBEAT = sa.text("""
    UPDATE jobs SET lease_until = clock_timestamp() + :lease * interval '1 second'
    FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS int[])) AS held (id, epoch)
    WHERE jobs.id = held.id AND jobs.epoch = held.epoch AND jobs.state = 'running'
    RETURNING jobs.id
""")
_WAIT = sa.text("""
    UPDATE jobs SET state = 'waiting', reason = :reason, owner = NULL, lease_until = NULL,
        attempts = attempts + :failed, due_at = clock_timestamp() + :delay * interval '1 second',
        error_code = :code, error_detail = :detail
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch
    RETURNING id
""")
_RELEASE = sa.text(f"""
    UPDATE jobs SET state = 'queued', owner = NULL, lease_until = NULL, dispatch = dispatch + 1, emissions = 1,
        emitted_at = clock_timestamp(), next_emit_at = clock_timestamp() + :reemit * interval '1 second',
        kpart = {KPART_OF_JOB}
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch
    RETURNING dispatch, kpart
""")  # noqa: S608 - made of constants


async def claim(
    connection: AsyncConnection,
    record: Dispatch,
    *,
    owner: str,
    lease_s: float,
    traceparent: str | None = None,
    origin: Origin | None = None,
) -> ClaimedJob | None:
    """Take the job if the record's dispatch is still the row's; None means stale or repeated: done with.

    Commit before the record's offset may move. The first claim of a job writes `job.started`.
    """
    found = origin._asdict() if origin else dict.fromkeys(Origin._fields)
    values = {"job_id": record.job_id, "dispatch": record.dispatch, "owner": owner, "lease": lease_s, **found}
    row = (await connection.execute(_CLAIM, values)).mappings().one_or_none()
    if row is None:
        return None
    fields = dict(row)
    first, wait_s = fields.pop("first"), fields.pop("wait_s")
    sha256 = fields["content_sha256"]
    fields["content_sha256"] = None if sha256 is None else bytes(sha256)
    words = {"stage": Stage(fields["stage"]), "job_class": JobClass(fields["job_class"])}
    job = ClaimedJob(**(fields | words), origin=origin)
    if first:
        numbered = outbox.Numbered(*(await connection.execute(_PROCESSING, {"asset_id": job.asset_id})).one())
        started = partial(JobStarted, job_id=job.job_id, stage=job.stage, wait_s=wait_s)
        await outbox.record(
            connection, job.asset_id, numbered, [started], traceparent=traceparent or job.traceparent
        )  # fmt: skip
    return job


async def refusal(connection: AsyncConnection, record: Dispatch) -> Refusal:
    """Why a claim of this record got nothing, for the figures."""
    held = await connection.execute(_HELD, {"job_id": record.job_id, "dispatch": record.dispatch})
    return "stale" if held.one_or_none() is None else "conflict"


async def heartbeat(connection: AsyncConnection, held: Sequence[tuple[UUID, int]], *, lease_s: float) -> set[UUID]:
    """Renew the leases of (job id, epoch) pairs; returns the ids still held. What does not come back is lost."""
    values = {"ids": [job_id for job_id, _ in held], "epochs": [epoch for _, epoch in held], "lease": lease_s}
    return set((await connection.execute(_HEARTBEAT, values)).scalars())


async def wait(
    connection: AsyncConnection,
    job: ClaimedJob,
    *,
    reason: WaitReason,
    delay_s: float,
    costs_attempt: bool,
    code: ErrorCode | None = None,
    detail: str | None = None,
) -> None:
    """Put the job back into its row until it is due. Raises `FencedError`."""
    values = {
        "job_id": job.job_id, "epoch": job.epoch, "reason": reason, "delay": delay_s, "failed": int(costs_attempt),
        "code": code, "detail": detail,
    }  # fmt: skip
    if (await connection.execute(_WAIT, values)).one_or_none() is None:
        raise FencedError(str(job.job_id))
    await pass_on(connection, job.tenant_id, job.stage)


async def release(connection: AsyncConnection, job: ClaimedJob) -> None:
    """Drain: back to `queued` under a new dispatch, costing no attempt. Raises `FencedError`."""
    values = {"job_id": job.job_id, "epoch": job.epoch, "reemit": REEMIT_AFTER_S}
    queued = (await connection.execute(_RELEASE, values)).one_or_none()
    if queued is None:
        raise FencedError(str(job.job_id))
    offer = outbox.Offer(
        job.job_id, job.tenant_id, job.asset_id, job.stage, job_topic(job.stage).route, queued.dispatch, queued.kpart,
        job.traceparent,
    )  # fmt: skip
    await outbox.dispatch(connection, [offer])
