"""What finished jobs cost, from their rows: for planning partitions and for simulating them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.states import JobClass


class TenantLoad(NamedTuple):
    """What a tenant's jobs on a topic cost, CPU seconds, and how many they were."""

    slug: str
    topic: str
    cpu_s: float
    jobs: int


class FinishedJob(NamedTuple):
    """A job from its creation to its end: times in seconds since 1970, costs in seconds.

    `started_at` is the first claim; `held_s` how long the job had a slot the last time, `cpu_s` what its child used.
    """

    tenant: str
    asset_id: UUID
    created_at: float
    started_at: float
    finished_at: float
    held_s: float
    cpu_s: float
    kpart: int | None
    job_class: JobClass


# A job that died without a report cost nothing that is known.
_CPU = "coalesce((j.report ->> 'cpu_s')::float8, 0)"
_LOADS = sa.text(f"""
    SELECT t.slug, j.topic, sum({_CPU}) AS cpu_s, count(*) AS jobs
    FROM jobs j JOIN tenants t ON t.id = j.tenant_id
    WHERE j.finished_at > now() - :window * interval '1 second' AND j.state IN ('done', 'failed')
    GROUP BY t.slug, j.topic ORDER BY t.slug, j.topic
""")  # noqa: S608 - made of constants
_JOBS = sa.text(f"""
    SELECT t.slug AS tenant, j.asset_id, extract(epoch FROM j.created_at)::float8 AS created_at,
        extract(epoch FROM j.started_at)::float8 AS started_at,
        extract(epoch FROM j.finished_at)::float8 AS finished_at,
        coalesce(extract(epoch FROM j.finished_at)::float8 - (j.report ->> 'claimed_at')::float8, 0) AS held_s,
        {_CPU} AS cpu_s, j.kpart, j.job_class
    FROM jobs j JOIN tenants t ON t.id = j.tenant_id
    WHERE j.topic = :route AND j.finished_at > CAST(:since AS timestamptz)
        AND j.finished_at <= CAST(:until AS timestamptz)
        AND j.started_at IS NOT NULL AND j.state IN ('done', 'failed')
    ORDER BY j.created_at, j.id
""")  # noqa: S608 - made of constants


async def tenant_loads(connection: AsyncConnection, *, window_s: float) -> list[TenantLoad]:
    """What each tenant's jobs cost that ended within the last `window_s` seconds."""
    return [TenantLoad(*row) for row in await connection.execute(_LOADS, {"window": window_s})]


async def finished_jobs(
    connection: AsyncConnection, route: str, *, since: datetime, until: datetime
) -> Sequence[FinishedJob]:
    """A topic's jobs that ended in a span of time, in the order of their creation."""
    rows = await connection.execute(_JOBS, {"route": route, "since": since, "until": until})
    return [FinishedJob(*row)._replace(job_class=JobClass(row.job_class)) for row in rows]
