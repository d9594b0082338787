"""A tenant's breaker: jobs that are given up too often cost their tenant its turn, never a worker or another tenant.

The budget is counted from the rows: so many dead letters in a row, or such a share of what ended lately. Beyond it the
breaker opens, and the tenant's jobs wait in their rows. After a pause one of them is tried (half open): its good end
closes the breaker, its bad one opens it for twice as long. All of this is the keeper's; workers know nothing of it.
"""

from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit
from connectors.postgres.protocol.content import LEFT_TO_A_NEWER
from connectors.postgres.protocol.credits import QUEUE, REEMIT_AFTER_S, RETURNING, emit_queued
from connectors.postgres.turns import share_of_each, tenants_with
from schemas.settings import BreakerSettings
from schemas.states import BreakerState

# Only who has a fresh dead letter is judged; what ended before the breaker last closed is paid for.
_TRIP = sa.text("""
    WITH suspects AS (
        SELECT DISTINCT tenant_id FROM dead_letters
        WHERE created_at > statement_timestamp() - interval '1 minute' AND job_id IS NOT NULL
    ), judged AS (
        SELECT s.tenant_id, ended.row_of, ended.jobs, ended.dead
        FROM suspects s LEFT JOIN breakers b ON b.tenant_id = s.tenant_id, LATERAL (
            SELECT count(*) AS jobs, count(*) FILTER (WHERE state = 'failed') AS dead,
                count(*) FILTER (WHERE state = 'failed' AND number <= :consecutive) AS row_of
            FROM (
                SELECT state, row_number() OVER (ORDER BY finished_at DESC) AS number FROM jobs
                WHERE tenant_id = s.tenant_id AND state IN ('done', 'failed')
                    AND finished_at > greatest(statement_timestamp() - :window * interval '1 second', b.since)
                ORDER BY finished_at DESC LIMIT :sample
            ) AS lately
        ) AS ended
        WHERE coalesce(b.state, 'closed') = 'closed'
            AND (ended.row_of >= :consecutive OR (ended.jobs >= :minimum AND ended.dead >= :ratio * ended.jobs))
    )
    INSERT INTO breakers (tenant_id, state, cause, opened_at, retry_at)
    SELECT tenant_id, 'open', dead || ' of the last ' || jobs || ' jobs were given up', clock_timestamp(),
        clock_timestamp() + :pause * interval '1 second'
    FROM judged
    ON CONFLICT (tenant_id) DO UPDATE SET state = 'open', cause = excluded.cause, trips = 0, probe_job_id = NULL,
        opened_at = excluded.opened_at, retry_at = excluded.retry_at, held = false WHERE breakers.state = 'closed'
    RETURNING tenant_id
""")
# What is in Kafka already: no more than credit allows, and found by the index of that.
_RECALL = sa.text("""
    WITH held AS (
        SELECT own.id FROM breakers b, LATERAL (
            SELECT id FROM jobs
            WHERE tenant_id = b.tenant_id AND state = 'queued' AND id IS DISTINCT FROM b.probe_job_id
            LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
        ) AS own
        WHERE b.state <> 'closed' LIMIT :batch
    )
    UPDATE jobs SET state = 'waiting', reason = 'breaker', due_at = NULL, next_emit_at = NULL FROM held
    WHERE jobs.id = held.id
""")
# What waits for credit may be very many, and is in no hurry: nothing gives it any while the breaker is not closed.
_PARK = sa.text(f"""
    WITH open AS MATERIALIZED (
        SELECT tenant_id, probe_job_id FROM breakers b, LATERAL (
            SELECT FROM jobs WHERE tenant_id = b.tenant_id AND state = 'waiting' AND reason = 'credit'
            ORDER BY topic LIMIT 1
        ) AS any_job
        WHERE b.state <> 'closed'
    ), held AS (
        SELECT own.id FROM open, LATERAL (
            SELECT id FROM jobs
            WHERE tenant_id = open.tenant_id AND state = 'waiting' AND reason = 'credit'
                AND id IS DISTINCT FROM open.probe_job_id
            ORDER BY topic, turn_at, id LIMIT {share_of_each("open")} FOR NO KEY UPDATE SKIP LOCKED
        ) AS own
        LIMIT :batch
    )
    UPDATE jobs SET reason = 'breaker' FROM held WHERE jobs.id = held.id
""")  # noqa: S608 - made of constants
# A closed breaker's jobs wait for credit like all others, and get it in turn.
_HOLDING = tenants_with("holding", "state = 'waiting' AND reason = 'breaker'", order="tenant_id, turn_at, id")
_LET_GO = sa.text(f"""
    WITH RECURSIVE {_HOLDING},
    closed AS MATERIALIZED (
        SELECT tenant_id FROM holding
        WHERE NOT EXISTS (SELECT FROM breakers b WHERE b.tenant_id = holding.tenant_id AND b.state <> 'closed')
    ), free AS (
        SELECT held.id FROM closed, LATERAL (
            SELECT id FROM jobs
            WHERE tenant_id = closed.tenant_id AND state = 'waiting' AND reason = 'breaker'
            ORDER BY turn_at, id LIMIT {share_of_each("closed")} FOR NO KEY UPDATE SKIP LOCKED
        ) AS held
        LIMIT :batch
    )
    UPDATE jobs SET reason = 'credit' FROM free WHERE jobs.id = free.id
""")  # noqa: S608 - made of constants
# A probe that waits for credit or for its twin says nothing: what it waits for may wait for this breaker. Nor does one
# that is left to a newer release, which may never come.
_JUDGE_PROBES = sa.text(f"""
    WITH probed AS (
        SELECT b.tenant_id, probe.outcome
        FROM breakers b LEFT JOIN jobs j ON j.id = b.probe_job_id, LATERAL (
            SELECT CASE WHEN j.state = 'waiting'
                    AND (j.reason IN ('credit', 'twin') OR {LEFT_TO_A_NEWER.format(job="j")}) THEN 'cancelled'
                ELSE coalesce(j.state, 'cancelled') END AS outcome
        ) AS probe
        WHERE b.state = 'half_open' AND b.probe_job_id IS NOT NULL
            AND probe.outcome IN ('done', 'failed', 'cancelled')
        FOR UPDATE OF b SKIP LOCKED
    )
    UPDATE breakers SET probe_job_id = NULL,
        state = CASE outcome WHEN 'done' THEN 'closed' WHEN 'failed' THEN 'open' ELSE 'half_open' END,
        trips = CASE outcome WHEN 'done' THEN 0 WHEN 'failed' THEN trips + 1 ELSE trips END,
        since = CASE outcome WHEN 'done' THEN clock_timestamp() ELSE since END,
        retry_at = clock_timestamp() + least(:pause * power(2, least(trips + 1, 20)), :longest) * interval '1 second'
    FROM probed WHERE breakers.tenant_id = probed.tenant_id
    RETURNING breakers.tenant_id, breakers.state
""")  # noqa: S608 - made of constants
_PROBE = sa.text(f"""
    WITH ready AS (
        SELECT b.tenant_id FROM breakers b
        WHERE NOT b.held AND b.probe_job_id IS NULL
            AND (b.state = 'half_open' OR (b.state = 'open' AND b.retry_at <= clock_timestamp()))
        FOR UPDATE SKIP LOCKED
    ), probe AS (
        SELECT oldest.id, ready.tenant_id FROM ready, LATERAL (
            SELECT id FROM jobs WHERE tenant_id = ready.tenant_id AND state = 'waiting' AND reason = 'breaker'
            ORDER BY turn_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        ) AS oldest
    ), half AS (
        UPDATE breakers SET state = 'half_open', probe_job_id = probe.id
        FROM ready LEFT JOIN probe USING (tenant_id) WHERE breakers.tenant_id = ready.tenant_id
    )
    {QUEUE} FROM probe WHERE jobs.id = probe.id {RETURNING}
""")  # noqa: S608 - made of constants
_LIST = sa.text("""
    SELECT b.tenant_id, t.slug, b.state, b.cause, b.held, b.trips, b.opened_at, b.retry_at,
        (SELECT count(*) FROM jobs j WHERE j.tenant_id = b.tenant_id AND j.state = 'waiting' AND j.reason = 'breaker')
            AS waiting
    FROM breakers b JOIN tenants t ON t.id = b.tenant_id
    WHERE (:everything OR b.state <> 'closed') ORDER BY t.slug
""")
_SET = sa.text("""
    INSERT INTO breakers (tenant_id, state, cause, held, opened_at)
    VALUES (:tenant_id, :state, :cause, :held, CASE WHEN :held THEN clock_timestamp() END)
    ON CONFLICT (tenant_id) DO UPDATE SET state = :state, cause = :cause, held = :held, trips = 0, probe_job_id = NULL,
        retry_at = NULL, since = clock_timestamp(), opened_at = coalesce(excluded.opened_at, breakers.opened_at)
""")
_SAMPLE = 1000


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's breaker and the jobs that it holds back; `held`: until an operator closes it."""

    tenant_id: UUID
    slug: str
    state: BreakerState
    cause: str
    held: bool
    trips: int
    opened_at: datetime | None
    retry_at: datetime | None
    waiting: int


async def trip(connection: AsyncConnection, budget: BreakerSettings) -> list[UUID]:
    """Open the breakers of tenants that went over their budget; returns whose."""
    values = {
        "consecutive": budget.consecutive, "ratio": budget.ratio, "minimum": budget.minimum, "sample": _SAMPLE,
        "window": budget.window_s, "pause": budget.pause_s,
    }  # fmt: skip
    return list((await connection.execute(_TRIP, values)).scalars())


async def judge_probes(connection: AsyncConnection, budget: BreakerSettings) -> list[tuple[UUID, BreakerState]]:
    """Close or open breakers whose probe ended; returns the tenants, with what became of their breaker."""
    values = {"pause": budget.pause_s, "longest": budget.longest_pause_s}
    return [(row.tenant_id, BreakerState(row.state)) for row in await connection.execute(_JUDGE_PROBES, values)]


async def probe(connection: AsyncConnection, *, reemit_s: float = REEMIT_AFTER_S) -> int:
    """Half-open what has paused long enough: queue one job of each such tenant; returns how many."""
    return await emit_queued(connection, await connection.execute(_PROBE, {"reemit": reemit_s}))


async def park(connection: AsyncConnection, *, batch: int) -> int:
    """Hold back the jobs of tenants whose breaker is not closed, each tenant's in turn; returns how many.

    What is in Kafka comes first: its records become stale.
    """
    recalled = (await connection.execute(_RECALL, {"batch": batch})).rowcount
    return recalled + (await connection.execute(_PARK, {"batch": batch - recalled})).rowcount


async def let_go(connection: AsyncConnection, *, batch: int) -> int:
    """Let the jobs of closed breakers wait for credit instead, each tenant's in turn; returns how many."""
    return (await connection.execute(_LET_GO, {"batch": batch})).rowcount


async def list_breakers(connection: AsyncConnection, *, everything: bool = False) -> tuple[Breaker, ...]:
    """The breakers that are not closed, or all that ever opened."""
    rows = (await connection.execute(_LIST, {"everything": everything})).mappings()
    return tuple(msgspec.convert(dict(row), Breaker) for row in rows)


async def set_breaker(connection: AsyncConnection, tenant_id: UUID, *, held: bool, actor: str, why: str = "") -> None:
    """Open a tenant's breaker until it is closed (`held`), or close it. What ended before is not charged again."""
    state = BreakerState.OPEN if held else BreakerState.CLOSED
    await connection.execute(_SET, {"tenant_id": tenant_id, "state": state.value, "cause": why, "held": held})
    action = "breaker.open" if held else "breaker.close"
    await audit.note(connection, actor=actor, action=action, tenant_id=tenant_id, detail={"why": why} if why else {})
