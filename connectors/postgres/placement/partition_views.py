"""What stands on each partition now, as the job rows tell it."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.placement.placements import KPART_OF_JOB


class PartitionState(NamedTuple):
    """Jobs by state on a partition. `waiting` ones would go there now; `head_age_s` is that of the oldest dispatch that
    nobody has claimed, seconds, 0 without one. `kpart` None: where the key's hash decides.
    """

    topic: str
    kpart: int | None
    queued: int
    running: int
    waiting: int
    head_age_s: float


class TenantCost(NamedTuple):
    """What a tenant's finished jobs on a partition cost, CPU seconds, and how many they were."""

    topic: str
    kpart: int | None
    slug: str
    cpu_s: float
    jobs: int


# A question per state: each has a partial index, which a list of states has not.
_OPEN = " UNION ALL ".join(
    f"SELECT topic, state, emitted_at, {kpart} AS kpart FROM jobs WHERE state = '{state}'"  # noqa: S608 - constants
    for state, kpart in (("waiting", KPART_OF_JOB), ("queued", "kpart"), ("running", "kpart"))
)
_STATES = sa.text(f"""
    WITH open AS ({_OPEN})
    SELECT topic, kpart, count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'waiting') AS waiting,
        coalesce(extract(epoch FROM clock_timestamp() - min(emitted_at) FILTER (WHERE state = 'queued')), 0)::float8
            AS head_age_s
    FROM open GROUP BY topic, kpart
""")  # noqa: S608 - made of constants
_COSTS = sa.text("""
    SELECT j.topic, j.kpart, t.slug, sum(coalesce((j.report ->> 'cpu_s')::float8, 0)) AS cpu_s, count(*) AS jobs
    FROM jobs j JOIN tenants t ON t.id = j.tenant_id
    WHERE j.finished_at > now() - :window * interval '1 second' AND j.state IN ('done', 'failed')
    GROUP BY j.topic, j.kpart, t.slug ORDER BY cpu_s DESC, t.slug
""")


async def partition_states(connection: AsyncConnection) -> list[PartitionState]:
    """Every partition that has jobs that are not over."""
    return [PartitionState(*row) for row in await connection.execute(_STATES)]


async def tenant_costs(connection: AsyncConnection, *, window_s: float) -> list[TenantCost]:
    """What each tenant's jobs cost where, of those that ended within the last `window_s` seconds; the dearest first."""
    return [TenantCost(*row) for row in await connection.execute(_COSTS, {"window": window_s})]
