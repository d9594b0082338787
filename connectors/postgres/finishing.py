"""The job row's protocol, second half: how jobs end well.

An end is one transaction: job, asset, content, events, the twins' wake-up, the jobs of the stages that follow. Any
number of jobs may end in the same one, each fenced by its own epoch: who lost its lease is left out, the others end.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.content import Made, close_contents, lock_contents
from connectors.postgres.credits import NewJob, make_jobs, pass_on_all
from connectors.postgres.jobs import ClaimedJob, FencedError
from connectors.postgres.locks import lock_assets, lock_held
from connectors.postgres.variants import NewVariant, insert_variants, of_assets
from schemas.details import Facts
from schemas.events import AssetReady, JobDone, JobStarting, VariantReady
from schemas.events import Variant as PublicVariant
from schemas.ids import uuid7
from schemas.states import Stage

_END = sa.text("""
    UPDATE jobs SET state = 'done', owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
        report = ended.report, error_code = NULL, error_detail = NULL, progress = 100
    FROM jsonb_to_recordset(CAST(:ended AS jsonb)) AS ended (id uuid, report jsonb)
    WHERE jobs.id = ended.id RETURNING jobs.id, attempts
""")
_READY = sa.text("""
    UPDATE assets SET state = 'ready', width = ready.width, height = ready.height, duration_s = ready.duration_s,
        details = ready.details, content_sha256 = decode(ready.sha256, 'hex'), error_code = NULL, error_detail = NULL,
        finished_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:ready AS jsonb)) AS ready (id uuid, sha256 text, width int, height int,
        duration_s double precision, details jsonb)
    WHERE assets.id = ready.id
""")


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """A job's good end: its last outputs, and what it found out.

    A primary stage also makes the asset ready (it has to bring `facts`) and makes the jobs of the stages in `follow`.
    `reused`: everything was made before.
    """

    job: ClaimedJob
    sha256: bytes
    report: dict[str, Any]
    traceparent: str | None
    variants: tuple[NewVariant, ...] = ()
    facts: Facts | None = None
    reused: bool = False
    follow: tuple[Stage, ...] = ()


async def finish(connection: AsyncConnection, end: Finish) -> None:
    """End a job well. Raises `FencedError` when the lease was lost; nothing is changed then."""
    (held,) = await finish_all(connection, [end])
    if not held:
        raise FencedError(str(end.job.job_id))


async def finish_all(connection: AsyncConnection, ends: Sequence[Finish]) -> list[bool]:
    """End jobs well, all together; returns, in their order, whether each was still held: if not, nothing changed."""
    made = [
        Made(end.job.tenant_id, end.sha256, end.job.job_id, end.job.stage, end.facts if end.job.stage.primary else None)
        for end in ends
    ]
    await lock_assets(connection, [end.job.asset_id for end in ends])
    await lock_contents(connection, made)
    held = await lock_held(connection, [(end.job.job_id, end.job.epoch) for end in ends])
    kept = [end for end in ends if end.job.job_id in held]
    if kept:
        await close_contents(connection, [one for one in made if one.job_id in held])
        await _end(connection, kept)
    return [end.job.job_id in held for end in ends]


async def _end(connection: AsyncConnection, ends: Sequence[Finish]) -> None:
    rows = [{"id": end.job.job_id, "report": end.report} for end in ends]
    attempts = {row.id: row.attempts for row in await connection.execute(_END, {"ended": _json(rows)})}
    for end in ends:
        if end.variants:
            job = end.job
            await insert_variants(connection, job.tenant_id, job.asset_id, job.generation, end.variants)
    variants = await _make_ready(connection, [end for end in ends if end.job.stage.primary])
    following = [(end, [(uuid7(), stage) for stage in end.follow]) for end in ends]
    emissions = []
    for end, jobs in following:
        makers = [*_makers(end, attempts[end.job.job_id], variants.get(end.job.asset_id, ()))]
        makers += [partial(JobStarting, job_id=job_id, stage=stage) for job_id, stage in jobs]
        emissions.append(outbox.Emission(end.job.asset_id, makers, end.traceparent))
    await outbox.emit_all(connection, emissions)
    await _follow_up(connection, following)
    await pass_on_all(connection, Counter((end.job.tenant_id, end.job.stage) for end in ends))


def _makers(end: Finish, attempts: int, variants: tuple[PublicVariant, ...]) -> Iterable[outbox.EventMaker]:
    job = end.job
    for variant in end.variants:
        yield partial(VariantReady, variant=variant.public())
    yield partial(
        JobDone, job_id=job.job_id, stage=job.stage, attempts=attempts + 1, cpu_s=end.report.get("cpu_s", 0.0),
        reused=end.reused,
    )  # fmt: skip
    if job.stage.primary and end.facts is not None:
        facts = end.facts
        yield partial(
            AssetReady, kind=job.stage.kind, variants=variants, width=facts.width, height=facts.height,
            duration_s=facts.duration_s, details=facts.details,
        )  # fmt: skip


async def _make_ready(connection: AsyncConnection, ends: Sequence[Finish]) -> dict[UUID, tuple[PublicVariant, ...]]:
    """Make the assets of primary jobs ready; returns their variants."""
    if not ends:
        return {}
    rows = []
    for end in ends:
        if end.facts is None:
            raise ValueError("a primary stage has to bring facts")
        rows.append({"id": end.job.asset_id, "sha256": end.sha256.hex(), **end.facts.columns()})
    await connection.execute(_READY, {"ready": _json(rows)})
    return await of_assets(connection, [end.job.asset_id for end in ends])


async def _follow_up(connection: AsyncConnection, following: Iterable[tuple[Finish, list[tuple[UUID, Stage]]]]) -> None:
    jobs: dict[UUID, list[NewJob]] = {}
    for end, made in following:
        jobs.setdefault(end.job.tenant_id, []).extend(
            NewJob(
                id=job_id, asset_id=end.job.asset_id, generation=end.job.generation, stage=stage,
                traceparent=end.job.traceparent, job_class=end.job.job_class.follow_up, content_sha256=end.sha256,
            )
            for job_id, stage in made
        )  # fmt: skip
    for tenant_id, new in jobs.items():
        if new:
            await make_jobs(connection, tenant_id, new)


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
