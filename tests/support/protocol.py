"""The job protocol for one job at a time, as tests tell it: workers do it for groups (`claim_all`, `finish_all`)."""

from connectors.postgres.protocol import content, endings, finishing, jobs
from connectors.postgres.protocol.jobs import ClaimedJob, FencedError, Offered
from schemas.details import Facts
from schemas.errors import ErrorCode

SMALL = Facts(width=40, height=30)


async def claim(connection, record, *, owner="w", lease_s=60, origin=None):
    """The job, or None if the record is stale or somebody has it."""
    offered = [Offered(record, None, origin)]
    (outcome,) = await jobs.claim_all(connection, offered, owner=owner, lease_s=lease_s)
    return outcome if isinstance(outcome, ClaimedJob) else None


async def join(connection, job, sha256):
    """What the job is to these bytes."""
    held = {"tenant_id": job.tenant_id, "job_id": job.job_id, "epoch": job.epoch, "stage": job.stage}
    return await content.join_content(connection, sha256=sha256, **held)


async def finish(connection, job, sha256, *, variants=(), facts=SMALL, follow=(), report=None):
    """Its good end. Raises `FencedError`."""
    end = finishing.Finish(
        job=job, variants=tuple(variants), sha256=sha256, facts=facts if job.stage.primary else None,
        report=report or {}, traceparent=None, follow=tuple(follow),
    )  # fmt: skip
    if await finishing.finish_all(connection, [end]) != [True]:
        raise FencedError(str(job.job_id))


async def fail(connection, job, *, sha256=None, code=ErrorCode.CORRUPT):
    """Its bad end. Raises `FencedError`."""
    await endings.fail(connection, job, code=code, detail="no", sha256=sha256, report={}, traceparent=None)
