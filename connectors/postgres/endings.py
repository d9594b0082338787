"""The job row's protocol, second half: outputs, and how a job ends.

An end is one transaction: job, asset, content, events, dead letter, the twins' wake-up. Locks: asset, then content,
then job, always in this order.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import dead_letters, outbox
from connectors.postgres.content import close_content
from connectors.postgres.credits import pass_on
from connectors.postgres.jobs import ClaimedJob, FencedError
from connectors.postgres.variants import NewVariant, insert_variants, of_asset
from schemas.errors import ErrorCode
from schemas.events import AssetFailed, AssetReady, JobDone, JobFailed, VariantReady

_LOCK_ASSET = sa.text("SELECT 1 FROM assets WHERE id = :asset_id FOR NO KEY UPDATE")
_FENCE = sa.text("SELECT 1 FROM jobs WHERE id = :job_id AND state = 'running' AND epoch = :epoch FOR NO KEY UPDATE")
_END = sa.text("""
    UPDATE jobs SET state = :state, owner = NULL, lease_until = NULL, finished_at = clock_timestamp(), report = :report,
        attempts = attempts + :failed, error_code = :code, error_detail = :detail
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch
    RETURNING attempts, deaths
""").bindparams(sa.bindparam("report", type_=sa.JSON))
_ASSET_READY = sa.text("""
    UPDATE assets SET state = 'ready', width = :width, height = :height, duration_s = :duration_s,
        content_sha256 = :sha256, error_code = NULL, error_detail = NULL, finished_at = clock_timestamp()
    WHERE id = :asset_id
""")
_ASSET_FAILED = sa.text("""
    UPDATE assets SET state = 'failed', content_sha256 = coalesce(:sha256, content_sha256), error_code = :code,
        error_detail = :detail, finished_at = clock_timestamp()
    WHERE id = :asset_id
""")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What processing found out about the source; pixels and seconds."""

    width: int
    height: int
    duration_s: float | None = None


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
    facts: Facts,
    report: dict[str, Any],
    reused: bool = False,
    traceparent: str | None,
) -> None:
    """End the job well: its last outputs, its state, its asset's state and events, its twins' wake-up, in one go.

    Raises `FencedError` when the lease was lost; nothing is changed then.
    """
    await connection.execute(_LOCK_ASSET, {"asset_id": job.asset_id})
    await close_content(
        connection, job.tenant_id, sha256, job.job_id, facts=(facts.width, facts.height, facts.duration_s)
    )
    attempts, _ = await _end(connection, job, state="done", report=report)
    if variants:
        await insert_variants(connection, job.tenant_id, job.asset_id, job.generation, variants)
    size = msgspec.structs.asdict(facts)
    await connection.execute(_ASSET_READY, {"asset_id": job.asset_id, "sha256": sha256, **size})
    everything = await of_asset(connection, job.asset_id)
    done = partial(
        JobDone,
        job_id=job.job_id,
        stage=job.stage,
        attempts=attempts + 1,
        cpu_s=report.get("cpu_s", 0.0),
        reused=reused,
    )
    ready = partial(
        AssetReady, kind=job.stage.kind, variants=everything,
        width=facts.width, height=facts.height, duration_s=facts.duration_s,
    )  # fmt: skip
    makers = [partial(VariantReady, variant=variant.public()) for variant in variants]
    await outbox.emit(connection, job.asset_id, [*makers, done, ready], traceparent=traceparent)
    await pass_on(connection, job.tenant_id, job.stage)


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
        await close_content(connection, job.tenant_id, sha256, job.job_id, code=code, detail=detail)
    counts = await _end(connection, job, state="failed", report=report, code=code, detail=detail)
    await give_up(connection, job, counts, code=code, detail=detail, sha256=sha256, traceparent=traceparent)
    await pass_on(connection, job.tenant_id, job.stage)


async def give_up(
    connection: AsyncConnection,
    job: ClaimedJob,
    counts: tuple[int, int],
    *,
    code: ErrorCode,
    detail: str,
    sha256: bytes | None,
    traceparent: str | None,
) -> None:
    """What follows a job's end in `failed`, whoever ended it. The caller has locked the asset."""
    attempts, deaths = counts
    await connection.execute(
        _ASSET_FAILED, {"asset_id": job.asset_id, "sha256": sha256, "code": code, "detail": detail}
    )
    await dead_letters.bury(
        connection, job_id=job.job_id, tenant_id=job.tenant_id, asset_id=job.asset_id, stage=job.stage,
        generation=job.generation, code=code, detail=detail, attempts=attempts, deaths=deaths, traceparent=traceparent,
        origin=job.origin,
    )  # fmt: skip
    failed = partial(JobFailed, job_id=job.job_id, stage=job.stage, code=code, detail=detail, attempts=attempts)
    await outbox.emit(
        connection, job.asset_id, [failed, partial(AssetFailed, code=code, detail=detail)], traceparent=traceparent
    )


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
