"""Row locks in the one order that the job protocol permits: assets, then contents, then jobs, each kind by id; and a
lock of a tenant's that is no row's.
"""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

RUNNING = """
    SELECT jobs.id FROM jobs
    JOIN unnest(CAST(:ids AS uuid[]), CAST(:epochs AS int[])) AS asked (id, epoch)
        ON jobs.id = asked.id AND jobs.epoch = asked.epoch
    WHERE jobs.state = 'running'
"""
"""Those of these jobs that still run under these epochs (`held_values`)."""

HELD = f"{RUNNING} ORDER BY jobs.id FOR NO KEY UPDATE OF jobs"
"""The same, locked."""

UP_FOR_A_LEASE = """
    pg_postmaster_start_time() NOT BETWEEN
        statement_timestamp() - :lease_s * interval '1 second' AND statement_timestamp()
"""
"""Whether whoever lives had the time to renew: a Postgres that has just started finds all leases old.

One that started in the future did so before its clock was set.
"""

AS_A_HEARTBEAT = sa.text("LOCK TABLE jobs IN ROW EXCLUSIVE MODE")
"""Waits exactly when those wait who renew leases: while an index is made, say. It keeps nobody out whom they do not."""

_ASSETS = sa.text("SELECT 1 FROM assets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")
_HELD = sa.text(HELD)

Held = Sequence[tuple[UUID, int]]
"""Jobs by id, each with the epoch under which somebody says to hold it."""
_ONE_BY_ONE = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0) # hashtextextended(:tenant, 0))")


async def lock_assets(connection: AsyncConnection, assets: Sequence[UUID]) -> None:
    """Lock these assets' rows until the transaction ends."""
    await connection.execute(_ASSETS, {"ids": list(assets)})


async def lock_held(connection: AsyncConnection, held: Held) -> set[UUID]:
    """Lock these jobs' rows; returns the ids of those that are still held. What does not come back is lost."""
    return set((await connection.execute(_HELD, held_values(held))).scalars())


def held_values(held: Held) -> dict[str, list[UUID] | list[int]]:
    """The values of `RUNNING` and of `HELD` in a statement."""
    return {"ids": [job_id for job_id, _ in held], "epochs": [epoch for _, epoch in held]}


async def one_by_one(connection: AsyncConnection, what: str, tenant_id: UUID) -> None:
    """Let nobody else make one of these for the tenant until this transaction ends: both would find the last place."""
    await connection.execute(_ONE_BY_ONE, {"what": what, "tenant": str(tenant_id)})
