"""Jobs for the bench, written as rows: as many as complete would make, without uploads."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.database import Database
from connectors.postgres.protocol.credits import NewJob, make_jobs
from schemas.ids import uuid7
from schemas.states import Stage
from schemas.topics import IMAGE_JOBS

_ASSET = sa.text("""
    INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, etag, uploaded_at)
    VALUES (:id, :tenant, 'uploaded', 'image', 'photo.jpg', 'image/jpeg', 1, CAST(:id AS text), '', clock_timestamp())
""")
_MANY = sa.text("""
    WITH made AS (
        SELECT gen_random_uuid() AS asset, gen_random_uuid() AS job FROM generate_series(1, :count)
    ), assets AS (
        INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, etag, uploaded_at)
        SELECT asset, :tenant, 'uploaded', 'image', 'photo.jpg', 'image/jpeg', 1, CAST(asset AS text), '', now()
        FROM made
    )
    INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, reason, dispatch)
    SELECT job, :tenant, asset, 1, :stage, :topic, 'waiting', 'credit', 0 FROM made
""")
_PLACE = sa.text("UPDATE placements SET kpart = :kpart WHERE tenant_id = :tenant AND topic = :topic")
_CREDIT = sa.text("UPDATE tenants SET credits = :credits WHERE id = :tenant")
_COUNT = sa.text("SELECT count(*) FROM jobs WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND state = :state")
_WAITS = sa.text("""
    SELECT extract(epoch FROM started_at - created_at)::float8 FROM jobs WHERE id = ANY(CAST(:jobs AS uuid[]))
""")
_SPAN = sa.text("""
    SELECT extract(epoch FROM min(started_at))::float8 AS began, extract(epoch FROM max(finished_at))::float8 AS ended
    FROM jobs WHERE tenant_id = ANY(CAST(:tenants AS uuid[]))
""")
_LENGTH = sa.text("""
    SELECT avg(extract(epoch FROM finished_at - started_at))::float8 FROM jobs
    WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND state = 'done'
""")
_GIVE_UP = sa.text("""
    UPDATE jobs SET state = 'cancelled', reason = NULL, due_at = NULL, lease_until = NULL, owner = NULL,
        epoch = epoch + 1, finished_at = clock_timestamp()
    WHERE tenant_id = ANY(CAST(:tenants AS uuid[])) AND state IN ('waiting', 'queued', 'running')
""")


async def make_job_now(connection: AsyncConnection, tenant: UUID) -> UUID:
    """Make an asset that is uploaded and its job, as complete does."""
    asset, job = uuid7(), uuid7()
    await connection.execute(_ASSET, {"id": asset, "tenant": tenant})
    new = NewJob(id=job, asset_id=asset, generation=1, stage=Stage.IMAGE_PRIMARY, traceparent=None)
    await make_jobs(connection, tenant, [new])
    return job


async def make_many(connection: AsyncConnection, tenant: UUID, count: int) -> None:
    """Make so many assets and jobs at once; all wait for credit, which the keeper gives them within a second."""
    values = {"tenant": tenant, "count": count, "stage": Stage.IMAGE_PRIMARY.value, "topic": IMAGE_JOBS.route}
    await connection.execute(_MANY, values)


async def place(connection: AsyncConnection, tenant: UUID, kpart: int) -> None:
    """Put a tenant's dispatches on this partition from now on."""
    await connection.execute(_PLACE, {"kpart": kpart, "tenant": tenant, "topic": IMAGE_JOBS.route})


async def give_credit(connection: AsyncConnection, tenant: UUID, credits_: int) -> None:
    """Let so many dispatches of a tenant be in Kafka."""
    await connection.execute(_CREDIT, {"credits": credits_, "tenant": tenant})


async def give_up(connection: AsyncConnection, tenants: Sequence[UUID]) -> None:
    """End everything of these tenants that has not ended."""
    await connection.execute(_GIVE_UP, {"tenants": list(tenants)})


async def count_in(database: Database, tenants: Sequence[UUID], state: str) -> int:
    """How many jobs of these tenants are in a state."""
    async with database.transaction() as connection:
        count: int = (await connection.execute(_COUNT, {"tenants": list(tenants), "state": state})).scalar_one()
    return count


async def span(database: Database, tenants: Sequence[UUID]) -> float:
    """Seconds from the first claim to the last end of these tenants' jobs."""
    async with database.transaction() as connection:
        row = (await connection.execute(_SPAN, {"tenants": list(tenants)})).one()
    return float(row.ended - row.began)


async def length(database: Database, tenants: Sequence[UUID]) -> float:
    """How long these tenants' jobs that ended well held a slot, seconds, on average."""
    async with database.transaction() as connection:
        found: float = (await connection.execute(_LENGTH, {"tenants": list(tenants)})).scalar_one()
    return found


async def waits(database: Database, jobs: Sequence[UUID]) -> list[float]:
    """Seconds from each job's making to its first claim; jobs that were never claimed have none."""
    async with database.transaction() as connection:
        found = (await connection.execute(_WAITS, {"jobs": list(jobs)})).scalars()
    return [seconds for seconds in found if seconds is not None]
