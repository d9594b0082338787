"""The job row's protocol, second half: outputs, and how a job ends.

An end is one transaction: job, asset, content, events, dead letter, the twins' wake-up, the jobs of the stages that
follow. Locks: asset, then content, then job, always in this order.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import dead_letters, outbox
from connectors.postgres.content import close_content
from connectors.postgres.credits import NewJob, make_jobs, pass_on
from connectors.postgres.jobs import ClaimedJob, FencedError
from connectors.postgres.variants import NewVariant, insert_variants, of_asset
from schemas.details import Facts
from schemas.errors import ErrorCode
from schemas.events import AssetFailed, AssetReady, JobDone, JobFailed, JobStarting, VariantReady
from schemas.ids import uuid7
from schemas.states import Stage

_LOCK_ASSET = sa.text("SELECT 1 FROM assets WHERE id = :asset_id FOR NO KEY UPDATE")
_FENCE = sa.text("SELECT 1 FROM jobs WHERE id = :job_id AND state = 'running' AND epoch = :epoch FOR NO KEY UPDATE")
_END = sa.text("""
    UPDATE jobs SET state = :state, owner = NULL, lease_until = NULL, finished_at = clock_timestamp(), report = :report,
        attempts = attempts + :failed, error_code = :code, error_detail = :detail,
        progress = CASE WHEN :state = 'done' THEN 100 ELSE progress END
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch
    RETURNING attempts, deaths
""").bindparams(sa.bindparam("report", type_=sa.JSON))
_ASSET_READY = sa.text("""
    UPDATE assets SET state = 'ready', width = :width, height = :height, duration_s = :duration_s, details = :details,
        content_sha256 = :sha256, error_code = NULL, error_detail = NULL, finished_at = clock_timestamp()
    WHERE id = :asset_id
""").bindparams(sa.bindparam("details", type_=sa.JSON(none_as_null=True)))
_ASSET_FAILED = sa.text("""
    UPDATE assets SET state = 'failed', content_sha256 = coalesce(:sha256, content_sha256), error_code = :code,
        error_detail = :detail, finished_at = clock_timestamp()
    WHERE id = :asset_id
""")


async def commit_variants(
    connection: AsyncConnection, job: ClaimedJob, variants: Sequence[NewVariant], *, traceparent: str | None
) -> None:
    """Make finished outputs known: rows and `variant.ready`, fenced. Raises `FencedError`."""
    await connection.execute(_LOCK_ASSET, {"asset_id": job.asset_id})
    if (await connection.execute(_FENCE, {"job_id": job.job_id, "epoch": job.epoch})).one_or_none() is None:
        raise FencedError(str(job.job_id))
    await insert_variants(connection, job.tenant_id, job.asset_id, job.generation, variants)
    makers = [partial(VariantReady, variant=variant.public()) for variant in variants]
    await outbox.emit(connection, job.asset_id, makers, traceparent=traceparent)


async def finish(
    connection: AsyncConnection,
    job: ClaimedJob,
    variants: Sequence[NewVariant],
    *,
    sha256: bytes,
    facts: Facts | None,
    report: dict[str, Any],
    reused: bool = False,
    follow: Sequence[Stage] = (),
    traceparent: str | None,
) -> None:
    """End the job well: its last outputs, its state and events, its twins' wake-up, in one go.

    A primary stage also makes the asset ready (it has to bring `facts`) and makes the jobs of the stages in `follow`.
    Raises `FencedError` when the lease was lost; nothing is changed then.
    """
    await connection.execute(_LOCK_ASSET, {"asset_id": job.asset_id})
    await close_content(connection, job.tenant_id, sha256, job.job_id, stage=job.stage, facts=facts)
    attempts, _ = await _end(connection, job, state="done", report=report)
    if variants:
        await insert_variants(connection, job.tenant_id, job.asset_id, job.generation, variants)
    done = partial(
        JobDone,
        job_id=job.job_id,
        stage=job.stage,
        attempts=attempts + 1,
        cpu_s=report.get("cpu_s", 0.0),
        reused=reused,
    )
    makers: list[outbox.EventMaker] = [partial(VariantReady, variant=variant.public()) for variant in variants]
    makers.append(done)
    following = [(uuid7(), stage) for stage in follow]
    if job.stage.primary:
        makers.append(await _ready(connection, job, sha256, facts))
        makers += [partial(JobStarting, job_id=job_id, stage=stage) for job_id, stage in following]
    await outbox.emit(connection, job.asset_id, makers, traceparent=traceparent)
    if following:
        jobs = [
            NewJob(
                id=job_id, asset_id=job.asset_id, generation=job.generation, stage=stage, traceparent=job.traceparent,
                job_class=job.job_class.follow_up, content_sha256=sha256,
            )
            for job_id, stage in following
        ]  # fmt: skip
        await make_jobs(connection, job.tenant_id, jobs)
    await pass_on(connection, job.tenant_id, job.stage)


async def _ready(connection: AsyncConnection, job: ClaimedJob, sha256: bytes, facts: Facts | None) -> outbox.EventMaker:
    """Make the asset ready; returns its event."""
    if facts is None:
        raise ValueError("a primary stage has to bring facts")
    await connection.execute(_ASSET_READY, {"asset_id": job.asset_id, "sha256": sha256, **facts.columns()})
    return partial(
        AssetReady, kind=job.stage.kind, variants=await of_asset(connection, job.asset_id), width=facts.width,
        height=facts.height, duration_s=facts.duration_s, details=facts.details,
    )  # fmt: skip


async def fail(
    connection: AsyncConnection,
    job: ClaimedJob,
    *,
    code: ErrorCode,
    detail: str,
    sha256: bytes | None,
    report: dict[str, Any],
    traceparent: str | None,
) -> None:
    """Give the job up: states, events and the dead letter in one transaction. Raises `FencedError`."""
    await connection.execute(_LOCK_ASSET, {"asset_id": job.asset_id})
    if sha256 is not None:
        await close_content(connection, job.tenant_id, sha256, job.job_id, stage=job.stage, code=code, detail=detail)
    counts = await _end(connection, job, state="failed", report=report, code=code, detail=detail)
    cpu_s = report.get("cpu_s", 0.0)
    await give_up(
        connection, job, counts, code=code, detail=detail, sha256=sha256, cpu_s=cpu_s, traceparent=traceparent
    )
    await pass_on(connection, job.tenant_id, job.stage)


async def give_up(
    connection: AsyncConnection,
    job: ClaimedJob,
    counts: tuple[int, int],
    *,
    code: ErrorCode,
    detail: str,
    sha256: bytes | None,
    cpu_s: float = 0.0,
    traceparent: str | None,
) -> None:
    """What follows a job's end in `failed`, whoever ended it. The caller has locked the asset.

    A secondary stage that failed leaves its asset ready.
    """
    attempts, deaths = counts
    await dead_letters.bury(
        connection, job_id=job.job_id, tenant_id=job.tenant_id, asset_id=job.asset_id, stage=job.stage,
        generation=job.generation, code=code, detail=detail, attempts=attempts, deaths=deaths, traceparent=traceparent,
        origin=job.origin,
    )  # fmt: skip
    makers: list[outbox.EventMaker] = [
        partial(JobFailed, job_id=job.job_id, stage=job.stage, code=code, detail=detail, attempts=attempts, cpu_s=cpu_s)
    ]
    if job.stage.primary:
        values = {"asset_id": job.asset_id, "sha256": sha256, "code": code, "detail": detail}
        await connection.execute(_ASSET_FAILED, values)
        makers.append(partial(AssetFailed, code=code, detail=detail))
    await outbox.emit(connection, job.asset_id, makers, traceparent=traceparent)


async def _end(
    connection: AsyncConnection,
    job: ClaimedJob,
    *,
    state: str,
    report: dict[str, Any],
    code: ErrorCode | None = None,
    detail: str | None = None,
) -> tuple[int, int]:
    values = {
        "job_id": job.job_id, "epoch": job.epoch, "state": state, "report": report, "failed": int(code is not None),
        "code": code, "detail": detail,
    }  # fmt: skip
    row = (await connection.execute(_END, values)).one_or_none()
    if row is None:
        raise FencedError(str(job.job_id))
    return row.attempts, row.deaths
