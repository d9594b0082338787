"""Complete: assets whose bytes are there become uploaded, and their primary jobs are made."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.protocol.credits import NewJob, make_jobs
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import AssetUploaded, JobStarting
from schemas.ids import uuid7
from schemas.states import PRIMARY_STAGE, MediaKind, Stage

# Decides who of two callers makes the job: the other one finds no pending row when it gets the lock. Locked in the
# order of their ids, so that two who complete the same assets together do not wait for each other.
_COMPLETE = sa.text(f"""
    WITH done AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:etags AS text[]), CAST(:versions AS text[]),
            CAST(:traceparents AS text[])) AS d (id, etag, version_id, traceparent)
    ), locked AS MATERIALIZED (
        SELECT id FROM assets WHERE tenant_id = :tenant_id AND id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE assets SET state = 'uploaded', etag = done.etag, version_id = done.version_id,
        uploaded_at = clock_timestamp(), traceparent = done.traceparent, event_seq = event_seq + 2
    FROM locked JOIN done USING (id)
    WHERE assets.id = locked.id AND assets.state = 'pending' AND kind = ANY(:kinds)
    RETURNING assets.id, {outbox.TAKEN}, kind, size
""")  # noqa: S608 - made of constants


class Completed(NamedTuple):
    """An asset whose bytes are there; `etag` pins them, and `version_id` where the bucket keeps versions."""

    id: UUID
    etag: str
    traceparent: str | None
    version_id: str | None = None


def primary_stage(kind: str) -> Stage:
    """The stage that makes an asset of this kind ready. Raises `MedialaneError(unsupported_type)` for a kind that only
    a newer release knows.
    """
    if kind not in MediaKind.__members__.values():
        detail = f"The asset is of a kind that only a newer release processes: {kind}."
        raise MedialaneError(ErrorCode.UNSUPPORTED_TYPE, detail)
    return PRIMARY_STAGE[MediaKind(kind)]


async def complete_assets(connection: AsyncConnection, tenant_id: UUID, completed: Sequence[Completed]) -> list[bool]:
    """Move pending assets to uploaded and make their primary jobs, events and dispatches.

    False, and nothing is written, for an asset that is pending no more: somebody else has done it, or it is gone. So
    for one without a `primary_stage` here, for which the caller looks before: it is not to fail the group's others.
    """
    once = {one.id: one for one in completed}  # two callers may have brought the same one
    values = {
        "tenant_id": tenant_id, "kinds": list(MediaKind), "ids": list(once),
        "etags": [one.etag for one in once.values()],
        "versions": [one.version_id for one in once.values()],
        "traceparents": [one.traceparent for one in once.values()],
    }  # fmt: skip
    rows = {row.id: row for row in await connection.execute(_COMPLETE, values)}
    recorded, jobs = [], []
    for one in once.values():
        if (row := rows.get(one.id)) is None:
            continue
        *taken, kind, size = row[1:]
        stage, job_id = primary_stage(kind), uuid7()
        makers: list[outbox.EventMaker] = [
            partial(AssetUploaded, size=size, etag=one.etag), partial(JobStarting, job_id=job_id, stage=stage),
        ]  # fmt: skip
        recorded.append(outbox.Recorded(one.id, outbox.Numbered(*taken), makers, one.traceparent))
        jobs.append(
            NewJob(id=job_id, asset_id=one.id, generation=row.generation, stage=stage, traceparent=one.traceparent)
        )
    if jobs:
        await outbox.record_all(connection, recorded)
        await make_jobs(connection, tenant_id, jobs)
    return [one.id in rows for one in completed]
