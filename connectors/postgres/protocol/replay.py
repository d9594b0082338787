"""Processing again: a new generation of an asset, in one transaction, its former jobs fenced.

What was made of the same bytes in the same version is used again, so only what is missing costs anything.
"""

from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit, outbox
from connectors.postgres.protocol.cancel import lock_asset, stop_jobs
from connectors.postgres.protocol.completing import primary_stage
from connectors.postgres.protocol.content import reopen
from connectors.postgres.protocol.credits import NewJob, make_jobs
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import AssetReopened, JobStarting
from schemas.ids import uuid7
from schemas.profiles import Profile
from schemas.states import AssetState, JobClass

REPLAYABLE = (AssetState.FAILED, AssetState.READY, AssetState.CANCELLED)
"""What may be opened again; what is under way has its end still before it."""

MOST_GENERATIONS = 1000
"""So many a tenant may open of one asset: each leaves a job and events, which are read and removed together."""

_LOCK = sa.text("""
    SELECT tenant_id, state, kind, generation, content_sha256 FROM assets WHERE id = :id FOR NO KEY UPDATE
""")
_GENERATION = sa.text("SELECT generation FROM assets WHERE id = :id")
_REOPEN = sa.text(f"""
    UPDATE assets SET state = 'uploaded', generation = generation + 1, error_code = NULL, error_detail = NULL,
        finished_at = NULL, event_seq = event_seq + 2
    WHERE id = :id RETURNING {outbox.TAKEN}
""")  # noqa: S608 - made of constants
# A page is so many assets that were looked at, in an index's order, however few of them lack anything. Its last one
# comes along, to say where the next page begins.
_BEHIND = sa.text("""
    WITH page AS MATERIALIZED (
        SELECT id, created_at, state, kind, profiles, details FROM assets
        WHERE tenant_id = :tenant_id AND (created_at, id) > (:at, :after) ORDER BY created_at, id LIMIT :look_at
    ), judged AS MATERIALIZED (
        SELECT id, created_at, lead(id) OVER (ORDER BY created_at, id) IS NULL AS last,
            a.state = 'ready' AND a.kind = :kind
            AND (a.profiles IS NULL OR :profile = ANY(a.profiles))
            AND (NOT :animated OR coalesce(CAST(a.details ->> 'frames' AS int), 1) > 1)
            AND NOT EXISTS (SELECT FROM variants v WHERE v.asset_id = a.id AND v.profile = :profile
                            AND v.profile_version = :version)
            AND NOT EXISTS (SELECT FROM jobs j WHERE j.asset_id = a.id AND j.state IN ('waiting', 'queued', 'running'))
            AS behind
        FROM page a
    )
    SELECT id, created_at, behind FROM judged WHERE behind OR last ORDER BY created_at, id
""")


class Place(NamedTuple):
    """Where a look through a tenant's assets has come to, by age."""

    at: datetime
    after: UUID = UUID(int=0)


class Behind(NamedTuple):
    """Assets that lack a profile's present version, and where to look on; nowhere, if nothing was left to look at."""

    assets: tuple[UUID, ...]
    next: Place | None


async def replay_asset(
    connection: AsyncConnection,
    asset_id: UUID,
    *,
    reason: str,
    job_class: JobClass,
    generation: int | None = None,
    traceparent: str | None = None,
) -> UUID:
    """Open a new generation of an asset and make its primary job; returns the job's id.

    Raises `MedialaneError`: not_found; conflict while the asset is under way, or if its generation is not the one
    given (somebody else has opened a new one); unsupported_type for a kind that only a newer release knows.
    """
    row = (await connection.execute(_LOCK, {"id": asset_id})).one_or_none()
    if row is None or row.state == AssetState.DELETED:
        raise MedialaneError(ErrorCode.NOT_FOUND)
    if row.state not in REPLAYABLE:
        raise MedialaneError(ErrorCode.CONFLICT, f"The asset is {row.state}: it is being worked on, or was never sent.")
    if generation is not None and generation != row.generation:
        raise MedialaneError(ErrorCode.CONFLICT, f"The asset is in generation {row.generation} by now.")
    job_id, stage = uuid7(), primary_stage(row.kind)
    sha256 = None if row.content_sha256 is None else bytes(row.content_sha256)
    if sha256 is not None:
        await reopen(connection, row.tenant_id, sha256, job_id)
    await stop_jobs(connection, row.tenant_id, asset_id)
    numbered = outbox.Numbered(*(await connection.execute(_REOPEN, {"id": asset_id})).one())
    makers = (partial(AssetReopened, reason=reason), partial(JobStarting, job_id=job_id, stage=stage))
    await outbox.record_all(connection, [outbox.Recorded(asset_id, numbered, makers, traceparent)])
    job = NewJob(
        id=job_id, asset_id=asset_id, generation=numbered.generation, stage=stage, traceparent=traceparent,
        job_class=job_class, content_sha256=sha256,
    )  # fmt: skip
    await make_jobs(connection, row.tenant_id, [job])
    return job_id


async def process_again(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, actor: str, traceparent: str | None = None
) -> None:
    """Open a new generation of a tenant's own asset, behind its fresh uploads.

    Raises `MedialaneError`: not_found, conflict while the asset is under way, quota_exceeded beyond
    `MOST_GENERATIONS`; unsupported_type as `replay_asset`.
    """
    state, _ = await lock_asset(connection, tenant_id, asset_id)
    if (await connection.execute(_GENERATION, {"id": asset_id})).scalar_one() >= MOST_GENERATIONS:
        raise MedialaneError(ErrorCode.QUOTA_EXCEEDED, f"An asset is processed {MOST_GENERATIONS} times at most.")
    job_id = await replay_asset(
        connection, asset_id, reason="asked for by its tenant", job_class=JobClass.SECONDARY, traceparent=traceparent
    )
    await audit.note(
        connection, actor=actor, action="asset.process", tenant_id=tenant_id, subject=str(asset_id),
        detail={"state": state, "job_id": str(job_id)},
    )  # fmt: skip


async def assets_behind(
    connection: AsyncConnection, tenant_id: UUID, profile: Profile, *, place: Place, look_at: int
) -> Behind:
    """Ready assets without this profile in its present version, among a tenant's next `look_at` from a place on.

    None that has open jobs, and none whose upload named others or, for what moves, is a still picture: nothing is
    missing there.
    """
    values = {
        "kind": profile.stage.kind.value, "tenant_id": tenant_id, "profile": profile.name, "version": profile.version,
        "animated": profile.animated, "look_at": look_at,
    }  # fmt: skip
    rows = (await connection.execute(_BEHIND, values | place._asdict())).all()
    last = Place(rows[-1].created_at, rows[-1].id) if rows else None
    return Behind(tuple(row.id for row in rows if row.behind), last)
