"""Replay and reprocess: a new generation of an asset, in one transaction, its former jobs fenced.

What was made of the same bytes in the same version is used again, so only what is missing costs anything.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.cancel import stop_jobs
from connectors.postgres.content import reopen
from connectors.postgres.credits import NewJob, make_jobs
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import AssetReopened, JobStarting
from schemas.ids import uuid7
from schemas.profiles import Profile
from schemas.states import PRIMARY_STAGE, AssetState, JobClass, MediaKind

REPLAYABLE = (AssetState.FAILED, AssetState.READY, AssetState.CANCELLED)
"""What may be opened again; what is under way has its end still before it."""

_LOCK = sa.text("""
    SELECT tenant_id, state, kind, generation, content_sha256 FROM assets WHERE id = :id FOR NO KEY UPDATE
""")
_REOPEN = sa.text(f"""
    UPDATE assets SET state = 'uploaded', generation = generation + 1, error_code = NULL, error_detail = NULL,
        finished_at = NULL, event_seq = event_seq + 2
    WHERE id = :id RETURNING {outbox.TAKEN}
""")  # noqa: S608 - made of constants
_BEHIND = sa.text("""
    SELECT a.id, a.tenant_id FROM assets a
    WHERE a.state = 'ready' AND a.kind = :kind AND a.created_at >= :since
        AND (CAST(:tenant_id AS uuid) IS NULL OR a.tenant_id = :tenant_id)
        AND NOT EXISTS (SELECT FROM variants v WHERE v.asset_id = a.id AND v.profile = :profile
                        AND v.profile_version = :version)
        AND (a.profiles IS NULL OR :profile = ANY(a.profiles))
        AND (NOT :animated OR CAST(a.details ->> 'frames' AS int) > 1)
        AND NOT EXISTS (SELECT FROM jobs j WHERE j.asset_id = a.id AND j.state IN ('waiting', 'queued', 'running'))
        AND a.id > :after
    ORDER BY a.id LIMIT :limit
""")


class Behind(NamedTuple):
    """An asset that lacks a profile's present version."""

    asset_id: UUID
    tenant_id: UUID


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
    given (somebody else has opened a new one).
    """
    row = (await connection.execute(_LOCK, {"id": asset_id})).one_or_none()
    if row is None or row.state == AssetState.DELETED:
        raise MedialaneError(ErrorCode.NOT_FOUND)
    if row.state not in REPLAYABLE:
        raise MedialaneError(ErrorCode.CONFLICT, f"The asset is {row.state}: it is being worked on, or was never sent.")
    if generation is not None and generation != row.generation:
        raise MedialaneError(ErrorCode.CONFLICT, f"The asset is in generation {row.generation} by now.")
    job_id, stage = uuid7(), PRIMARY_STAGE[MediaKind(row.kind)]
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


async def assets_behind(
    connection: AsyncConnection,
    profile: Profile,
    *,
    since: datetime,
    tenant_id: UUID | None,
    after: UUID,
    limit: int,
) -> Sequence[Behind]:
    """Ready assets without this profile in its present version, by id, from behind `after`.

    None that has open jobs, and none whose upload named others or, for what moves, is a still picture: nothing is
    missing there.
    """
    values = {
        "kind": profile.stage.kind.value, "since": since, "tenant_id": tenant_id, "profile": profile.name,
        "version": profile.version, "animated": profile.animated, "after": after, "limit": limit,
    }  # fmt: skip
    return [Behind(row.id, row.tenant_id) for row in await connection.execute(_BEHIND, values)]
