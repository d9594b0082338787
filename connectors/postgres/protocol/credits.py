"""Credit: at most so many dispatches per tenant and topic in Kafka, so that what a lane sees is enough to be fair.

It is counted from the rows, never kept as a number: a race may overshoot by a few, and nothing can be lost. Whatever
leaves `queued` or `running` for good gives its credit to the tenant's next waiting job in the same transaction; the
keeper mends what a crash left.

Secondary and bulk jobs may only fill a part of the credit, so that primary ones always find room. Until their turn has
come (`turn_at`, some time after they were made) whatever is dispatched counts against that part; from then on only what
is of their class does, and so they never starve.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.placement.placements import KPART_OF_JOB, kpart_of
from schemas.states import JobClass, Stage
from schemas.topics import job_topic

REEMIT_AFTER_S = 30.0
"""How long a dispatch may go unclaimed before the keeper emits it again; doubles with every emission."""

AGEING_S: dict[JobClass, float] = {JobClass.PRIMARY: 0.0, JobClass.SECONDARY: 600.0, JobClass.BULK: 3600.0}
"""How long a job yields before its class's part of the credit is its own."""

SHARE: dict[JobClass, int] = {JobClass.PRIMARY: 1, JobClass.SECONDARY: 2, JobClass.BULK: 8}
"""A class never has more than this part (one nth) of its tenant's credit, and at least one."""

_SHARES = ", ".join(f"('{kind.value}', {share})" for kind, share in SHARE.items())

OPEN_BREAKER = "SELECT FROM breakers b WHERE b.tenant_id = {tenant} AND b.state <> 'closed'"
"""Whether a tenant's jobs are held in their rows."""


def used(jobs: str) -> str:
    """SQL: a query for how many of these jobs there are (`total`), and how many of each class (`own`, see `own_of`)."""
    classes = ", ".join(f"count(*) FILTER (WHERE job_class = '{kind.value}')" for kind in SHARE)
    return f"SELECT count(*) AS total, ARRAY[{classes}] AS own FROM ({jobs}) AS dispatched"  # noqa: S608 - made of constants


def own_of(job: str) -> str:
    """SQL: the number in `own` that is of this job's class."""
    classes = ", ".join(f"'{kind.value}'" for kind in SHARE)
    return f"own[array_position(ARRAY[{classes}], {job}.job_class)]"


def may_go(job: str, total: str, own: str) -> str:
    """SQL: whether a job may be dispatched beside so many others of its tenant (with its `credits`) and topic, `own` of
    them of its class.
    """
    shares = " ".join(f"WHEN '{kind.value}' THEN {share}" for kind, share in SHARE.items())
    return (
        f"({total} < credits AND CASE WHEN {job}.turn_at <= clock_timestamp() THEN {own} ELSE {total} END"
        f" < greatest(1, credits / CASE {job}.job_class {shares} END))"
    )


RETURNING = """
    RETURNING jobs.id, jobs.tenant_id, jobs.asset_id, jobs.stage, jobs.topic, jobs.dispatch, jobs.kpart,
        jobs.traceparent
"""
# Jobs made together count for each other, topic by topic.
_MAKE = sa.text(f"""
    WITH new AS (
        SELECT *, row_number() OVER (PARTITION BY topic ORDER BY place) - 1 AS before FROM unnest(
            CAST(:ids AS uuid[]), CAST(:assets AS uuid[]), CAST(:generations AS int[]), CAST(:stages AS text[]),
            CAST(:topics AS text[]), CAST(:traceparents AS text[]), CAST(:classes AS text[]), CAST(:shares AS int[]),
            CAST(:yields AS double precision[]), CAST(:contents AS bytea[])
        ) WITH ORDINALITY AS n (id, asset_id, generation, stage, topic, traceparent, job_class, share, yields,
            content_sha256, place)
    ), used AS (
        SELECT wanted.topic, (
            SELECT count(*) FROM jobs
            WHERE tenant_id = :tenant_id AND topic = wanted.topic AND state IN ('queued', 'running')
        ) AS total
        FROM (SELECT DISTINCT topic FROM new) AS wanted
    ), judged AS (
        SELECT new.*, CASE
            WHEN EXISTS ({OPEN_BREAKER.format(tenant=":tenant_id")}) THEN 'breaker'
            WHEN greatest(1, t.credits / new.share) <= used.total + new.before THEN 'credit' END AS reason
        FROM new JOIN used USING (topic), tenants t WHERE t.id = :tenant_id
    )
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, traceparent, job_class, content_sha256, state,
        reason, dispatch, emitted_at, next_emit_at, turn_at, kpart)
    SELECT id, :tenant_id, asset_id, generation, stage, topic, traceparent, job_class, content_sha256,
        CASE WHEN reason IS NULL THEN 'queued' ELSE 'waiting' END, reason,
        CASE WHEN reason IS NULL THEN 1 ELSE 0 END, CASE WHEN reason IS NULL THEN clock_timestamp() END,
        CASE WHEN reason IS NULL THEN clock_timestamp() + :reemit * interval '1 second' END,
        clock_timestamp() + yields * interval '1 second',
        CASE WHEN reason IS NULL THEN {kpart_of(":tenant_id", "judged.topic", "judged.asset_id")} END
    FROM judged ORDER BY place
    {RETURNING}, jobs.state = 'queued' AS queued
""")  # noqa: S608 - made of constants
QUEUE = f"""
    UPDATE jobs SET state = 'queued', reason = NULL, due_at = NULL, owner = NULL, lease_until = NULL,
        dispatch = dispatch + 1, emissions = 1, emitted_at = clock_timestamp(),
        next_emit_at = clock_timestamp() + :reemit * interval '1 second', kpart = {KPART_OF_JOB}
"""  # noqa: S608 - made of constants


def _let_in(room: str, last: str) -> sa.TextClause:
    """Queue the heads of each class where there is room; of those that may go now, the ones whose turns come first.

    `room` is a query for (tenant_id, topic, credits, total, own, wanted): what is dispatched now (`used`), and how many
    may be more.
    """
    return sa.text(f"""
        WITH room AS ({room}), heads AS (
            SELECT head.*, room.*,
                row_number() OVER (PARTITION BY room.tenant_id, room.topic, class.name ORDER BY turn_at, id) AS number
            FROM room, (VALUES {_SHARES}) AS class (name, share), LATERAL (
                SELECT id, turn_at, job_class FROM jobs
                WHERE tenant_id = room.tenant_id AND topic = room.topic AND state = 'waiting' AND reason = 'credit'
                    AND job_class = class.name
                ORDER BY turn_at, id
                LIMIT least(greatest(credits - total, 0), wanted, greatest(1, credits / class.share))
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS head
        ), able AS (
            SELECT *, row_number() OVER (PARTITION BY tenant_id, topic ORDER BY turn_at, id) AS place
            FROM heads WHERE {may_go("heads", "total + number - 1", f"{own_of('heads')} + number - 1")}
        ), next AS (
            SELECT id FROM able
            WHERE place <= wanted AND {may_go("able", "total + place - 1", f"{own_of('able')} + number - 1")} {last}
        )
        {QUEUE} FROM next WHERE jobs.id = next.id {RETURNING}
    """)  # noqa: S608 - made of constants


DISPATCHED = """
    SELECT job_class FROM jobs j
    WHERE j.tenant_id = of.tenant_id AND j.topic = of.topic AND j.state IN ('queued', 'running')
"""
"""The jobs of one tenant and topic (`of`) that hold credit."""

_NEXT = _let_in(
    f"""
    SELECT t.id AS tenant_id, of.topic, t.credits, used.total, used.own, of.count AS wanted
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:topics AS text[]), CAST(:counts AS int[]))
        AS of (tenant_id, topic, count)
    JOIN tenants t ON t.id = of.tenant_id, LATERAL ({used(DISPATCHED)}) AS used
    WHERE NOT EXISTS ({OPEN_BREAKER.format(tenant="t.id")})
    """,  # noqa: S608 - made of constants
    "",
)
# What lanes sent back for want of room counts, too: others in its place would be sent back as well.
_DISPATCHED_OR_SENT_BACK = f"""
    {DISPATCHED} UNION ALL
    SELECT job_class FROM jobs j
    WHERE j.tenant_id = of.tenant_id AND j.topic = of.topic AND j.state = 'waiting' AND j.reason = 'cap'
        AND j.due_at IS NOT NULL
"""  # noqa: S608 - made of constants
# A loose index scan: one probe per tenant and topic that has anything waiting, however much that is.
_MEND = _let_in(
    f"""
    WITH RECURSIVE of AS (
        (SELECT tenant_id, topic FROM jobs WHERE state = 'waiting' AND reason = 'credit'
         ORDER BY tenant_id, topic LIMIT 1)
        UNION ALL
        SELECT next.* FROM of, LATERAL (
            SELECT j.tenant_id, j.topic FROM jobs j
            WHERE j.state = 'waiting' AND j.reason = 'credit' AND (j.tenant_id, j.topic) > (of.tenant_id, of.topic)
            ORDER BY j.tenant_id, j.topic LIMIT 1
        ) AS next
    )
    SELECT t.id AS tenant_id, of.topic, t.credits, used.total, used.own, CAST(:batch AS int) AS wanted
    FROM of JOIN tenants t ON t.id = of.tenant_id, LATERAL ({used(_DISPATCHED_OR_SENT_BACK)}) AS used
    WHERE NOT EXISTS ({OPEN_BREAKER.format(tenant="t.id")})
    """,  # noqa: S608 - made of constants
    "LIMIT :batch",
)


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to make. `job_class` is the stage's own if not given; `content_sha256` (32 bytes) saves the job a download
    where its asset's content is known already.
    """

    id: UUID
    asset_id: UUID
    generation: int
    stage: Stage
    traceparent: str | None
    job_class: JobClass | None = None
    content_sha256: bytes | None = None


async def make_jobs(connection: AsyncConnection, tenant_id: UUID, jobs: Sequence[NewJob]) -> int:
    """Write jobs of one tenant and, as far as its credit goes, their dispatches; returns how many were queued."""
    kinds = [job.job_class or JobClass.of(job.stage) for job in jobs]
    values = {
        "tenant_id": tenant_id, "reemit": REEMIT_AFTER_S, "ids": [job.id for job in jobs],
        "assets": [job.asset_id for job in jobs], "generations": [job.generation for job in jobs],
        "stages": [job.stage.value for job in jobs], "topics": [job_topic(job.stage).route for job in jobs],
        "traceparents": [job.traceparent for job in jobs], "classes": [kind.value for kind in kinds],
        "shares": [SHARE[kind] for kind in kinds], "yields": [AGEING_S[kind] for kind in kinds],
        "contents": [job.content_sha256 for job in jobs],
    }  # fmt: skip
    made = await connection.execute(_MAKE, values)
    return await emit_queued(connection, (row for row in made if row.queued))


async def pass_on(connection: AsyncConnection, tenant_id: UUID, stage: Stage) -> int:
    """Give the credit of a job that left to its tenant's next waiting one; returns how many were queued (0 or 1)."""
    return await pass_on_all(connection, {(tenant_id, stage): 1})


async def pass_on_all(connection: AsyncConnection, left: Mapping[tuple[UUID, Stage], int]) -> int:
    """The same for so many jobs of tenants and stages that left together."""
    freed: Counter[tuple[UUID, str]] = Counter()
    for (tenant_id, stage), count in left.items():
        freed[tenant_id, job_topic(stage).route] += count
    return await pass_on_topics(connection, freed)


async def pass_on_topics(connection: AsyncConnection, freed: Mapping[tuple[UUID, str], int]) -> int:
    """The same by tenant and topic, as the rows of jobs name it whose stages only a newer release may know."""
    values = {
        "tenants": [tenant_id for tenant_id, _ in freed], "topics": [topic for _, topic in freed],
        "counts": list(freed.values()), "reemit": REEMIT_AFTER_S,
    }  # fmt: skip
    return await emit_queued(connection, await connection.execute(_NEXT, values))


async def mend(connection: AsyncConnection, *, batch: int, reemit_s: float = REEMIT_AFTER_S) -> int:
    """Queue waiting jobs of tenants that have credit to spare; returns how many."""
    return await emit_queued(connection, await connection.execute(_MEND, {"batch": batch, "reemit": reemit_s}))


async def emit_queued(connection: AsyncConnection, rows: Iterable[sa.Row[Any]]) -> int:
    """Write the dispatches of rows that a statement ending in `RETURNING` has queued; returns how many."""
    offers = [
        outbox.Offer(
            row.id, row.tenant_id, row.asset_id, row.stage, row.topic, row.dispatch, row.kpart, row.traceparent
        )
        for row in rows
    ]
    if offers:
        await outbox.dispatch(connection, offers)
    return len(offers)
