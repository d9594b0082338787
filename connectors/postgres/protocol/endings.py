"""How a job is given up, and how outputs become known before its end. How it ends well is in `finishing`.

An end is one transaction: job, asset, content, events, dead letter, the twins' wake-up. Locks: asset, then content,
then job, always in this order.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.assets.variants import Addition, NewVariant, add_variants, committed_profiles
from connectors.postgres.locks import lock_assets, lock_held
from connectors.postgres.protocol import dead_letters, words
from connectors.postgres.protocol.content import doom_content
from connectors.postgres.protocol.credits import pass_on
from connectors.postgres.protocol.jobs import ClaimedJob, FencedError
from schemas.events import AssetFailed, JobFailed, VariantReady

_FAIL = sa.text("""
    UPDATE jobs SET state = 'failed', owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
        report = :report, attempts = attempts + 1, error_code = :code, error_detail = :detail
    WHERE id = :job_id AND state = 'running' AND epoch = :epoch
    RETURNING attempts, deaths
""").bindparams(sa.bindparam("report", type_=sa.JSON))
_ASSET_FAILED = sa.text(f"""
    UPDATE assets SET state = 'failed', content_sha256 = coalesce(:sha256, content_sha256), error_code = :code,
        error_detail = :detail, finished_at = clock_timestamp()
    WHERE id = :asset_id RETURNING {words.COLUMNS}
""")  # noqa: S608 - made of constants


async def commit_variants(
    connection: AsyncConnection, job: ClaimedJob, variants: Sequence[NewVariant], *, traceparent: str | None
) -> None:
    """Make finished outputs known: rows and `variant.ready`, fenced. Raises `FencedError`.

    Those that are known already are left out: an earlier call may have been committed although its answer was lost.
    """
    await lock_assets(connection, [job.asset_id])
    if not await lock_held(connection, [(job.job_id, job.epoch)]):
        raise FencedError(str(job.job_id))
    known = await committed_profiles(connection, job.asset_id, job.generation)
    new = [variant for variant in variants if variant.profile not in known]
    if not new:
        return
    await add_variants(connection, [Addition(job.tenant_id, job.asset_id, job.generation, new)])
    makers = [partial(VariantReady, variant=variant.public()) for variant in new]
    await outbox.emit(connection, job.asset_id, makers, traceparent=traceparent)


async def fail(
    connection: AsyncConnection,
    job: ClaimedJob,
    *,
    code: str,
    detail: str,
    sha256: bytes | None,
    report: dict[str, Any],
    traceparent: str | None,
) -> None:
    """Give the job up: states, events and the dead letter in one transaction. Raises `FencedError`."""
    await lock_assets(connection, [job.asset_id])
    if sha256 is not None:
        await doom_content(connection, job.tenant_id, sha256, job.job_id, stage=job.stage, code=code, detail=detail)
    values = {"job_id": job.job_id, "epoch": job.epoch, "report": report, "code": code, "detail": detail}
    counts = (await connection.execute(_FAIL, values)).one_or_none()
    if counts is None:
        raise FencedError(str(job.job_id))
    cpu_s = report.get("cpu_s", 0.0)
    await give_up(
        connection,
        job,
        (counts.attempts, counts.deaths),
        code=code,
        detail=detail,
        sha256=sha256,
        cpu_s=cpu_s,
        traceparent=traceparent,
    )
    await pass_on(connection, job.tenant_id, job.stage)


async def give_up(
    connection: AsyncConnection,
    job: ClaimedJob,
    counts: tuple[int, int],
    *,
    code: str,
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
        said = words.Words.of((await connection.execute(_ASSET_FAILED, values)).one())
        makers.append(words.told(partial(AssetFailed, code=code, detail=detail), said))
    await outbox.emit(connection, job.asset_id, makers, traceparent=traceparent)
