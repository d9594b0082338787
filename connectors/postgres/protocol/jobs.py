"""The job row's protocol, first half: claim, heartbeat, back to waiting, back to queued.

The row owns the work. Whoever changes a running job proves that it still holds the epoch, in the transaction that has
the effects; a proof that fails raises `FencedError` and takes the whole transaction back.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.locks import HELD, RUNNING, Held, held_values
from connectors.postgres.placement.placements import KPART_OF_JOB
from connectors.postgres.protocol.credits import REEMIT_AFTER_S, pass_on
from schemas.errors import ErrorCode
from schemas.events import JobStarted
from schemas.records import Dispatch, Origin
from schemas.states import JobClass, Stage
from schemas.topics import job_topic


class FencedError(Exception):
    """The job is no longer held under this epoch: somebody else owns it, or it is over. Discard what was done."""


Refusal = Literal["stale", "conflict"]
"""Why a claim got nothing: the row has moved on, or somebody holds it under this very dispatch."""


class ClaimedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job under a lease. `epoch` fences everything that is done for it from here on.

    `profiles` are those that the upload has named; None: all that the tenant has chosen. `choice` is the row that says
    what that is (`schemas.kept_choices`), as of the claim; None if it never chose. `queued_at` is the time of its
    latest dispatch, `created_at` that of the act that it comes of: complete, or an operator's.
    """

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
    version_id: str | None = None
    size: int
    content_type: str
    file_name: str
    profiles: tuple[str, ...] | None = None
    choice: dict[str, Any] | None = None
    created_at: datetime
    queued_at: datetime
    claimed_at: datetime
    job_class: JobClass = JobClass.PRIMARY
    origin: Origin | None = None

    @property
    def log_names(self) -> dict[str, object]:
        """What logs say of which job this is."""
        return {
            "job_id": str(self.job_id), "asset_id": str(self.asset_id), "tenant_id": str(self.tenant_id),
            "stage": self.stage.value, "epoch": self.epoch, "generation": self.generation,
        }  # fmt: skip


_NOWHERE = (None,) * len(Origin._fields)

_SOURCE = "a.id, a.object_key, a.etag, a.version_id, a.size, a.content_type, a.file_name, a.profiles"
_TAKEN = """
    RETURNING jobs.id AS job_id, jobs.tenant_id, jobs.asset_id, jobs.generation, jobs.stage, jobs.epoch, jobs.attempts,
        jobs.deaths, jobs.traceparent, jobs.content_sha256, asset.object_key, asset.etag, asset.version_id,
        asset.size, asset.content_type, asset.file_name, asset.profiles, jobs.created_at,
        (SELECT choice FROM profile_sets s WHERE s.tenant_id = jobs.tenant_id) AS choice,
        coalesce(jobs.emitted_at, jobs.created_at) AS queued_at, clock_timestamp() AS claimed_at, jobs.job_class
"""
# One statement: lock the assets (lock order), then move the jobs whose counters still have their records' values.
_CLAIM = sa.text(f"""
    WITH offered AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:jobs AS uuid[]), CAST(:dispatches AS int[]), CAST(:topics AS text[]),
            CAST(:partitions AS int[]), CAST(:offsets AS bigint[]), CAST(:groups AS text[])) WITH ORDINALITY
            AS o (job_id, dispatch, topic, kpart, koffset, consumers, place)
    ), asset AS MATERIALIZED (
        SELECT {_SOURCE}, j.started_at, o.*
        FROM offered o JOIN jobs j ON j.id = o.job_id JOIN assets a ON a.id = j.asset_id
        WHERE j.state = 'queued' AND j.dispatch = o.dispatch
        ORDER BY a.id FOR NO KEY UPDATE OF a
    )
    UPDATE jobs SET state = 'running', epoch = epoch + 1, owner = :owner, next_emit_at = NULL,
        lease_until = clock_timestamp() + :lease * interval '1 second',
        started_at = coalesce(jobs.started_at, clock_timestamp()), record_topic = asset.topic,
        record_kpart = asset.kpart, record_koffset = asset.koffset, record_group = asset.consumers
    FROM asset
    WHERE jobs.id = asset.job_id AND jobs.asset_id = asset.id AND jobs.state = 'queued'
        AND jobs.dispatch = asset.dispatch
    {_TAKEN}, extract(epoch FROM clock_timestamp() - jobs.created_at)::float8 AS wait_s,
        asset.started_at IS NULL AS first, asset.place
""")  # noqa: S608 - made of constants
# What a commit that was not answered has claimed after all. The new epoch fences whoever took it for his meanwhile.
_ADOPT = sa.text(f"""
    WITH asset AS (SELECT {_SOURCE} FROM jobs j JOIN assets a ON a.id = j.asset_id WHERE j.id = :job_id)
    UPDATE jobs SET epoch = epoch + 1, lease_until = clock_timestamp() + :lease * interval '1 second'
    FROM asset
    WHERE jobs.id = :job_id AND jobs.state = 'running' AND jobs.dispatch = :dispatch AND jobs.owner = :owner
    {_TAKEN}
""")  # noqa: S608 - made of constants
_HELD = sa.text("""
    SELECT jobs.id, jobs.dispatch FROM jobs
    JOIN unnest(CAST(:jobs AS uuid[]), CAST(:dispatches AS int[])) AS o (job_id, dispatch)
        ON jobs.id = o.job_id AND jobs.dispatch = o.dispatch
    WHERE jobs.state = 'running'
""")
_PROCESSING = sa.text(f"""
    WITH {outbox.WANTED}
    UPDATE assets SET state = CASE state WHEN 'uploaded' THEN 'processing' ELSE state END,
        event_seq = event_seq + wanted.count
    FROM wanted WHERE assets.id = wanted.id RETURNING assets.id, {outbox.TAKEN}
""")  # noqa: S608 - made of constants
# A row that somebody has locked is held all the same, and renewed by the next beat: the others do not wait for it.
_HEARTBEAT = sa.text(f"""
    WITH free AS MATERIALIZED ({HELD} SKIP LOCKED), renewed AS (
        UPDATE jobs SET lease_until = clock_timestamp() + :lease * interval '1 second'
        FROM free WHERE jobs.id = free.id
    )
    {RUNNING}
""")  # noqa: S608 - made of constants
# What is left to a newer release goes behind its tenant's others: first in its turn again and again, it would be what a
# breaker tries each time, and never one that could close it.
_WAIT = sa.text("""
    UPDATE jobs SET state = 'waiting', reason = 'retry', owner = NULL, lease_until = NULL,
        attempts = attempts + :failed, due_at = clock_timestamp() + :delay * interval '1 second',
        error_code = :code, error_detail = :detail,
        turn_at = CASE WHEN CAST(:code AS text) IS NULL THEN greatest(turn_at, clock_timestamp()) ELSE turn_at END
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


class Offered(NamedTuple):
    """A dispatch that was read: with the record it came in, and the trace of which the claim is a part."""

    dispatch: Dispatch
    traceparent: str | None = None
    origin: Origin | None = None


async def claim_all(
    connection: AsyncConnection, offered: Sequence[Offered], *, owner: str, lease_s: float
) -> list[ClaimedJob | Refusal]:
    """Take the jobs of several records at once; returns, in their order, each job or why there is none."""
    asked = {
        "jobs": [one.dispatch.job_id for one in offered], "dispatches": [one.dispatch.dispatch for one in offered],
    }  # fmt: skip
    columns = zip(*(one.origin or _NOWHERE for one in offered), strict=True)
    found = dict(zip(("topics", "partitions", "offsets", "groups"), map(list, columns), strict=True))
    values = asked | found | {"owner": owner, "lease": lease_s}
    outcomes: list[ClaimedJob | Refusal] = ["stale"] * len(offered)
    started = []
    for row in (await connection.execute(_CLAIM, values)).mappings():
        fields = dict(row)
        place, first, wait_s = fields.pop("place") - 1, fields.pop("first"), fields.pop("wait_s")
        job = outcomes[place] = _claimed(fields, offered[place].origin)
        if first:
            maker = partial(JobStarted, job_id=job.job_id, stage=job.stage, wait_s=wait_s)
            started.append(outbox.Emission(job.asset_id, [maker], offered[place].traceparent or job.traceparent))
    if started:
        numbered = await connection.execute(_PROCESSING, outbox.wanted_of(started))
        await outbox.record_all(connection, outbox.spread(numbered, started))
    if "stale" in outcomes:
        held = {(row.id, row.dispatch) for row in await connection.execute(_HELD, asked)}
        for place, one in enumerate(offered):
            # A record that came twice in this group is held by its first.
            if outcomes[place] == "stale" and (one.dispatch.job_id, one.dispatch.dispatch) in held:
                outcomes[place] = "conflict"
    return outcomes


async def adopt(connection: AsyncConnection, offered: Offered, *, owner: str, lease_s: float) -> ClaimedJob | None:
    """Take the job that this owner's own claim of this dispatch has left behind; None if there is no such.

    For a claim whose commit was not answered. Whatever of it goes on under the former epoch is fenced.
    """
    dispatch = offered.dispatch
    values = {"job_id": dispatch.job_id, "dispatch": dispatch.dispatch, "owner": owner, "lease": lease_s}
    row = (await connection.execute(_ADOPT, values)).mappings().one_or_none()
    return None if row is None else _claimed(dict(row), offered.origin)


def _claimed(fields: dict[str, Any], origin: Origin | None) -> ClaimedJob:
    sha256 = fields["content_sha256"]
    fields["content_sha256"] = None if sha256 is None else bytes(sha256)
    profiles = fields["profiles"]
    fields["profiles"] = None if profiles is None else tuple(profiles)
    words = {"stage": Stage(fields["stage"]), "job_class": JobClass(fields["job_class"])}
    return ClaimedJob(**(fields | words), origin=origin)


async def heartbeat(connection: AsyncConnection, held: Held, *, lease_s: float) -> set[UUID]:
    """Renew the leases of (job id, epoch) pairs; returns the ids still held. What does not come back is lost."""
    return set((await connection.execute(_HEARTBEAT, {**held_values(held), "lease": lease_s})).scalars())


async def wait(
    connection: AsyncConnection,
    job: ClaimedJob,
    *,
    delay_s: float,
    costs_attempt: bool,
    code: ErrorCode | None = None,
    detail: str | None = None,
) -> None:
    """Put the job back into its row, to be tried again once it is due. Raises `FencedError`.

    Without a code it failed of nothing: it is left to a newer release.
    """
    values = {
        "job_id": job.job_id, "epoch": job.epoch, "delay": delay_s, "failed": int(costs_attempt),
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
