"""What the keeper puts right: due, expired and unclaimed jobs are emitted again through the outbox.

Rows are taken with SKIP LOCKED, so that any number of keepers may run and none waits for a worker. What is looked for
is compared with `statement_timestamp()`: no index is used for `clock_timestamp()`, which is another for every row.
"""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.locks import UP_FOR_A_LEASE
from connectors.postgres.placement.placements import KPART_OF_JOB
from connectors.postgres.protocol.content import doom_content, let_sleep
from connectors.postgres.protocol.credits import (
    DISPATCHED,
    OPEN_BREAKER,
    QUEUE,
    REEMIT_AFTER_S,
    RETURNING,
    emit_queued,
    may_go,
    own_of,
    pass_on,
    used,
)
from connectors.postgres.protocol.endings import give_up
from connectors.postgres.protocol.jobs import ClaimedJob, FencedError
from connectors.postgres.turns import share_of_each, tenants_with
from schemas.errors import ERRORS, ErrorCode
from schemas.records import Origin
from schemas.states import JobClass, Stage

# Each tenant's in turn: a leader's end makes all of its twins due, which may be very many. NULLS FIRST, though there
# are none, is the order of no other index: a tenant's are never sought by walking over what is due of all others.
_WITH_DUE_TIME = tenants_with(
    "waiting",
    "state = 'waiting' AND due_at IS NOT NULL",
    columns="tenant_id, due_at",
    order="tenant_id, due_at NULLS FIRST",
)
_DUE = sa.text(f"""
    WITH RECURSIVE {_WITH_DUE_TIME},
    late AS MATERIALIZED (
        SELECT tenant_id FROM waiting WHERE due_at <= statement_timestamp()
    ), due AS MATERIALIZED (
        SELECT own.id FROM late, LATERAL (
            SELECT id FROM jobs
            WHERE tenant_id = late.tenant_id AND state = 'waiting' AND due_at <= statement_timestamp()
            ORDER BY due_at NULLS FIRST LIMIT {share_of_each("late")} FOR NO KEY UPDATE SKIP LOCKED
        ) AS own
        LIMIT :batch
    )
    SELECT id FROM due
""")  # noqa: S608 - made of constants
# Beyond its tenant's credit, what is due waits on, for credit; behind an open breaker (but for its probe), for that.
_GO = sa.text(f"""
    WITH due AS MATERIALIZED (
        SELECT id, tenant_id, topic, due_at, turn_at, job_class FROM jobs WHERE id = ANY(CAST(:ids AS uuid[]))
    ), used AS (
        SELECT of.tenant_id, of.topic, t.credits, used.total, used.own
        FROM (SELECT DISTINCT tenant_id, topic FROM due) AS of JOIN tenants t ON t.id = of.tenant_id,
            LATERAL ({used(DISPATCHED)}) AS used
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY tenant_id, topic ORDER BY due_at, id) AS place,
            row_number() OVER (PARTITION BY tenant_id, topic, job_class ORDER BY due_at, id) AS number
        FROM due JOIN used USING (tenant_id, topic)
    ), ranked AS (
        SELECT due.id, {may_go("due", "total + place - 1", f"{own_of('due')} + number - 1")} AS room,
            EXISTS ({OPEN_BREAKER.format(tenant="due.tenant_id")} AND b.probe_job_id IS DISTINCT FROM due.id) AS held
        FROM numbered AS due
    ), later AS (
        UPDATE jobs SET reason = CASE WHEN held THEN 'breaker' ELSE 'credit' END, due_at = NULL
        FROM ranked WHERE jobs.id = ranked.id AND (held OR NOT room)
    )
    {QUEUE} FROM ranked WHERE jobs.id = ranked.id AND room AND NOT held {RETURNING}
""")  # noqa: S608 - made of constants
_EXPIRED = sa.text(f"""
    WITH gone AS (SELECT id FROM jobs WHERE state = 'running' AND lease_until < statement_timestamp()
                  AND {UP_FOR_A_LEASE} AND deaths + 1 < :max_deaths
                  ORDER BY lease_until LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED)
    {QUEUE}, deaths = deaths + 1 FROM gone WHERE jobs.id = gone.id {RETURNING}
""")  # noqa: S608 - made of constants
# The same dispatch again: a new one would make the record that waits behind a backlog stale, for ever.
_UNCLAIMED = sa.text(f"""
    WITH slow AS (SELECT id FROM jobs WHERE state = 'queued' AND next_emit_at <= statement_timestamp()
                  ORDER BY next_emit_at LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE jobs SET emissions = emissions + 1,
        next_emit_at = clock_timestamp() + :reemit * power(2, least(emissions, 10)) * interval '1 second',
        kpart = {KPART_OF_JOB}
    FROM slow WHERE jobs.id = slow.id {RETURNING}
""")  # noqa: S608 - made of constants
_LOST = sa.text(f"""
    SELECT id AS job_id, asset_id, topic, stage, content_sha256 FROM jobs
    WHERE state = 'running' AND lease_until < statement_timestamp() AND {UP_FOR_A_LEASE}
        AND deaths + 1 >= :max_deaths AND stage = ANY(:stages) ORDER BY lease_until LIMIT :batch
""")  # noqa: S608 - made of constants
_LOCK_ASSET = sa.text("""
    SELECT tenant_id, object_key, etag, size, content_type, file_name FROM assets WHERE id = :id FOR NO KEY UPDATE
""")
_END_LOST = sa.text("""
    UPDATE jobs SET state = 'failed', owner = NULL, lease_until = NULL, epoch = epoch + 1, deaths = deaths + 1,
        finished_at = clock_timestamp(), error_code = :code, error_detail = :detail
    WHERE id = :id AND state = 'running' AND lease_until < statement_timestamp()
        AND content_sha256 IS NOT DISTINCT FROM CAST(:sha256 AS bytea)
    RETURNING id AS job_id, tenant_id, asset_id, generation, epoch, attempts, deaths, traceparent,
        created_at, created_at AS queued_at, finished_at AS claimed_at, job_class, record_topic, record_kpart,
        record_koffset, record_group
""")
# A question per state: each has a partial index, which a list of states has not. What waits is late from its due time
# on, or from its turn: bulk jobs wait for that by design.
_BACKLOG = sa.text(
    " UNION ALL ".join(
        f"""
        SELECT '{state}' AS state, coalesce(reason, '') AS reason, count(*) AS jobs,
            greatest(extract(epoch FROM clock_timestamp() - min({late_from})), 0)::float8 AS oldest_s
        FROM jobs WHERE state = '{state}' GROUP BY reason
        """  # noqa: S608 - made of constants
        for state, late_from in (
            ("waiting", "coalesce(due_at, greatest(turn_at, emitted_at))"),
            ("queued", "coalesce(emitted_at, created_at)"),
            ("running", "coalesce(emitted_at, created_at)"),
        )
    )
)


class Backlog(NamedTuple):
    """How many jobs are in a state (and reason), and for how long the oldest is late, or in that state, seconds."""

    state: str
    reason: str
    jobs: int
    oldest_s: float


class LostJob(NamedTuple):
    """A job that took too many workers with it."""

    job_id: UUID
    asset_id: UUID
    topic: str
    stage: Stage
    content_sha256: bytes | None


async def emit_due(connection: AsyncConnection, *, batch: int, reemit_s: float = REEMIT_AFTER_S) -> int:
    """Queue what waited long enough, or let it wait for what it lacks now; returns how many that were.

    Twins whose leader lives sleep on.
    """
    due = list((await connection.execute(_DUE, {"batch": batch})).scalars())
    asleep = await let_sleep(connection, due)
    going = [job_id for job_id in due if job_id not in asleep]
    if going:
        await emit_queued(connection, await connection.execute(_GO, {"ids": going, "reemit": reemit_s}))
    return len(due)


async def emit_expired(
    connection: AsyncConnection,
    *,
    batch: int,
    max_deaths: int,
    lease_s: float,
    reemit_s: float = REEMIT_AFTER_S,
) -> int:
    """Queue what lost its worker, counting a death; returns how many. None while Postgres has not run for a lease."""
    values = {"batch": batch, "reemit": reemit_s, "max_deaths": max_deaths, "lease_s": lease_s}
    return await emit_queued(connection, await connection.execute(_EXPIRED, values))


async def emit_unclaimed(connection: AsyncConnection, *, batch: int, reemit_s: float = REEMIT_AFTER_S) -> int:
    """Send dispatches again that nobody claimed for long; returns how many."""
    return await emit_queued(connection, await connection.execute(_UNCLAIMED, {"batch": batch, "reemit": reemit_s}))


async def lost_jobs(connection: AsyncConnection, *, batch: int, max_deaths: int, lease_s: float) -> list[LostJob]:
    """Jobs whose last permitted worker died; `bury_lost` ends each in its own transaction.

    None while Postgres has not run for a lease. Those of a newer release's stages are left to its keeper.
    """
    values = {"batch": batch, "max_deaths": max_deaths, "lease_s": lease_s, "stages": list(Stage)}
    rows = await connection.execute(_LOST, values)
    return [LostJob(row.job_id, row.asset_id, row.topic, Stage(row.stage), row.content_sha256) for row in rows]


async def bury_lost(connection: AsyncConnection, lost: LostJob) -> None:
    """Give up a job that took too many workers with it. Raises `FencedError` if it came back to life, or is gone."""
    job_id, sha256, code = lost.job_id, lost.content_sha256, ErrorCode.WORKER_LOST
    detail = ERRORS[code].meaning
    asset = (await connection.execute(_LOCK_ASSET, {"id": lost.asset_id})).mappings().one_or_none()
    if asset is None:
        raise FencedError(str(job_id))
    if sha256 is not None:
        await doom_content(connection, asset["tenant_id"], sha256, job_id, stage=lost.stage, code=code, detail=detail)
    values = {"id": job_id, "sha256": sha256, "code": code, "detail": detail}
    row = (await connection.execute(_END_LOST, values)).mappings().one_or_none()
    if row is None:
        raise FencedError(str(job_id))
    fields = dict(row)
    topic, *rest = (fields.pop(f"record_{name}") for name in ("topic", "kpart", "koffset", "group"))
    words = {"stage": lost.stage, "job_class": JobClass(row["job_class"]), "content_sha256": sha256}
    job = ClaimedJob(**(dict(asset) | fields | words), origin=Origin(topic, *rest) if topic else None)
    counts = (job.attempts, job.deaths)
    await give_up(connection, job, counts, code=code, detail=detail, sha256=sha256, traceparent=job.traceparent)
    await pass_on(connection, job.tenant_id, job.stage)


async def backlog(connection: AsyncConnection) -> list[Backlog]:
    """How much work stands where."""
    return [Backlog(row.state, row.reason, row.jobs, row.oldest_s) for row in await connection.execute(_BACKLOG)]
