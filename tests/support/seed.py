"""Rows to start from: a tenant with its placements, and assets whose primary job is queued under dispatch 1."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from connectors.postgres.placement import placements
from connectors.postgres.protocol.credits import NewJob, make_jobs
from schemas.ids import uuid7
from schemas.records import Dispatch
from schemas.states import Stage
from schemas.topics import TOPICS
from support import protocol


class Seeded(NamedTuple):
    tenant_id: UUID
    asset_id: UUID
    job_id: UUID

    def dispatch(self, number=1):
        return Dispatch(
            job_id=self.job_id,
            tenant_id=self.tenant_id,
            asset_id=self.asset_id,
            stage=Stage.IMAGE_PRIMARY,
            dispatch=number,
        )


async def tenant(database):
    tenant_id = uuid7()
    async with database.transaction() as connection:
        await placements.confirm_partitions(connection, {topic.route: topic.partitions for topic in TOPICS})
        slug = f"t-{tenant_id.hex[-12:]}"
        await connection.execute(
            sa.text("INSERT INTO tenants (id, slug) VALUES (:id, :slug)"), {"id": tenant_id, "slug": slug}
        )
        await placements.place_tenant(connection, tenant_id)
    return tenant_id


async def asset(database, tenant_id):
    seeded = Seeded(tenant_id, uuid7(), uuid7())
    values = seeded._asdict() | {"key": f"uploads/{tenant_id}/{seeded.asset_id}/photo.jpg"}
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("""
                INSERT INTO assets (id, tenant_id, state, kind, file_name, content_type, size, object_key, etag, events_kpart)
                VALUES (:asset_id, :tenant_id, 'uploaded', 'image', 'photo.jpg', 'image/jpeg', 3, :key, 'etag', 1)
            """),
            values,
        )
        await connection.execute(
            sa.text("""
                INSERT INTO jobs (id, tenant_id, asset_id, generation, stage, topic, state, emitted_at, next_emit_at)
                VALUES (:job_id, :tenant_id, :asset_id, 1, 'image.primary', 'jobs.image', 'queued', now(), now() + interval '1 hour')
            """),
            values,
        )
    return seeded


async def upload(database, tenant_id, job_class=None):
    """An asset whose job was made the product's way, within its tenant's credit."""
    made = await asset(database, tenant_id)
    await change(database, "DELETE FROM jobs WHERE id = :j", j=made.job_id)
    async with database.transaction() as connection:
        job = NewJob(
            id=made.job_id, asset_id=made.asset_id, generation=1, stage=Stage.IMAGE_PRIMARY, traceparent=None,
            job_class=job_class,
        )  # fmt: skip
        await make_jobs(connection, tenant_id, [job])
    return made


async def claim(database, made):
    """Its job as a worker claims it by its latest dispatch; None if it is not to be had. No lease ends within a test."""
    (number,) = await column(database, "SELECT dispatch FROM jobs WHERE id = :j", j=made.job_id)
    async with database.transaction() as connection:
        return await protocol.claim(connection, made.dispatch(number), lease_s=3600)


async def rows(database, statement, **values):
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(statement), values)).all()


async def column(database, statement, **values):
    return [first for first, *_ in await rows(database, statement, **values)]


async def change(database, statement, **values):
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement), values)
