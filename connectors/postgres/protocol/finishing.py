"""How jobs end well. How they are given up is in `endings`.

An end is one transaction: job, asset, content, events, the twins' wake-up, the jobs of the stages that follow. Any
number of jobs may end in the same one, each fenced by its own epoch: who lost its lease is left out, the others end.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.assets.variants import Addition, NewVariant, add_variants
from connectors.postgres.json_text import few, json_text
from connectors.postgres.locks import HELD, held_values, lock_assets
from connectors.postgres.protocol import words
from connectors.postgres.protocol.content import Made, close_contents, lock_contents
from connectors.postgres.protocol.credits import NewJob, make_jobs, pass_on_all
from connectors.postgres.protocol.jobs import ClaimedJob
from schemas.details import Facts
from schemas.events import AssetReady, JobDone, JobStarting, VariantReady
from schemas.events import Variant as PublicVariant
from schemas.ids import uuid7
from schemas.states import Stage

_END = sa.text(f"""
    WITH held AS MATERIALIZED ({HELD})
    UPDATE jobs SET state = 'done', owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
        report = ended.report, error_code = NULL, error_detail = NULL, progress = 100
    FROM held JOIN {few("ended", "id uuid, report jsonb")} AS ended USING (id)
    WHERE jobs.id = held.id RETURNING jobs.id, attempts
""")  # noqa: S608 - made of constants
_READY_COLUMNS = """
    id uuid, sha256 text, width int, height int, duration_s double precision, details jsonb, events int
"""
_READY = sa.text(f"""
    UPDATE assets SET state = 'ready', width = ready.width, height = ready.height, duration_s = ready.duration_s,
        details = ready.details, content_sha256 = decode(ready.sha256, 'hex'), error_code = NULL, error_detail = NULL,
        finished_at = clock_timestamp(), event_seq = event_seq + ready.events
    FROM {few("ready", _READY_COLUMNS)} AS ready
    WHERE assets.id = ready.id RETURNING assets.id, {outbox.TAKEN}, {words.COLUMNS}
""")  # noqa: S608 - made of constants


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


async def finish_all(connection: AsyncConnection, ends: Sequence[Finish]) -> list[bool]:
    """End jobs well, all together; returns, in their order, whether each was still held: if not, nothing changed."""
    made = [
        Made(end.job.tenant_id, end.sha256, end.job.job_id, end.job.stage, end.facts if end.job.stage.primary else None)
        for end in ends
    ]
    await lock_assets(connection, [end.job.asset_id for end in ends])
    await lock_contents(connection, made)
    attempts = await _end(connection, ends)
    kept = [end for end in ends if end.job.job_id in attempts]
    if kept:
        await close_contents(connection, [one for one in made if one.job_id in attempts])
        await _announce(connection, kept, attempts)
        await pass_on_all(connection, Counter((end.job.tenant_id, end.job.stage) for end in kept))
    return [end.job.job_id in attempts for end in ends]


async def _end(connection: AsyncConnection, ends: Sequence[Finish]) -> dict[UUID, int]:
    """End those jobs that are still held; returns how often each had failed."""
    rows = [{"id": end.job.job_id, "report": end.report} for end in ends]
    held = held_values([(end.job.job_id, end.job.epoch) for end in ends])
    return {row.id: row.attempts for row in await connection.execute(_END, {"ended": json_text(rows)} | held)}


async def _announce(connection: AsyncConnection, ends: Sequence[Finish], attempts: Mapping[UUID, int]) -> None:
    additions = [Addition(end.job.tenant_id, end.job.asset_id, end.job.generation, end.variants) for end in ends]
    variants = await add_variants(connection, additions)
    following = [(end, [(uuid7(), stage) for stage in end.follow]) for end in ends]
    ready, other = [], []
    for end, jobs in following:
        makers = [*_makers(end, attempts[end.job.job_id], variants.get(end.job.asset_id, ()))]
        makers += [partial(JobStarting, job_id=job_id, stage=stage) for job_id, stage in jobs]
        emission = outbox.Emission(end.job.asset_id, makers, end.traceparent)
        if end.job.stage.primary:
            ready.append((end, emission))
        else:
            other.append(emission)
    recorded = [*await _make_ready(connection, ready), *await outbox.take(connection, other)]
    await outbox.record_all(connection, recorded)
    await _follow_up(connection, following)


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


async def _make_ready(
    connection: AsyncConnection, ready: Sequence[tuple[Finish, outbox.Emission]]
) -> list[outbox.Recorded]:
    """Make the assets of primary jobs ready, and take the numbers of their events."""
    if not ready:
        return []
    rows = []
    for end, emission in ready:
        if end.facts is None:
            raise ValueError("a primary stage has to bring facts")
        told = {"id": end.job.asset_id, "sha256": end.sha256.hex(), "events": len(emission.makers)}
        rows.append(told | end.facts.columns())
    taken, said = [], {}
    for row in await connection.execute(_READY, {"ready": json_text(rows)}):
        taken.append(row[: -len(words.Words._fields)])
        said[row.id] = words.Words.of(row)
    recorded = outbox.spread(taken, [emission for _, emission in ready])
    return [one._replace(makers=[words.told(maker, said[one.asset_id]) for maker in one.makers]) for one in recorded]


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
