"""Assets as the API writes them: made by presign, handed to the pipeline by complete. Reads are in `asset_views`."""

from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.credits import make_job
from schemas.events import AssetCreated, AssetUploaded, JobStarting
from schemas.ids import uuid7
from schemas.states import PRIMARY_STAGE, AssetState, MediaKind
from schemas.topics import EVENTS

# The events partition is taken now and kept, so that an asset's events stay in order whatever is moved later.
# Both statements take the numbers of the events that go with them, which saves a round trip on the hottest paths.
_INSERT = sa.text(f"""
    INSERT INTO assets (id, tenant_id, state, event_seq, events_kpart, kind, file_name, content_type, size, object_key,
        traceparent)
    VALUES (:id, :tenant_id, 'pending', 1,
        (SELECT kpart FROM placements WHERE tenant_id = :tenant_id AND topic = :route AND bucket = 0),
        :kind, :file_name, :content_type, :size, :object_key, :traceparent)
    RETURNING {outbox.TAKEN}
""")  # noqa: S608 - made of constants
_UPLOAD = sa.text("""
    SELECT state, object_key, content_type, size FROM assets
    WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'
""")
# Decides who of two callers makes the job: the other one finds no pending row when it gets the lock.
_COMPLETE = sa.text(f"""
    UPDATE assets SET state = 'uploaded', etag = :etag, uploaded_at = clock_timestamp(), traceparent = :traceparent,
        event_seq = event_seq + 2
    WHERE tenant_id = :tenant_id AND id = :id AND state = 'pending'
    RETURNING {outbox.TAKEN}, kind, size
""")  # noqa: S608 - made of constants


class NewAsset(msgspec.Struct, frozen=True, kw_only=True):
    """An announced upload: `size` in bytes, `object_key` where its bytes have to be put."""

    id: UUID
    kind: MediaKind
    file_name: str
    content_type: str
    size: int
    object_key: str


class Upload(NamedTuple):
    """What complete compares the stored object with."""

    state: AssetState
    object_key: str
    content_type: str
    size: int


async def create_asset(
    connection: AsyncConnection, tenant_id: UUID, asset: NewAsset, *, traceparent: str | None
) -> None:
    """Write a pending asset and its `asset.created`."""
    values = msgspec.structs.asdict(asset) | {
        "tenant_id": tenant_id, "kind": asset.kind.value, "route": EVENTS.route, "traceparent": traceparent,
    }  # fmt: skip
    numbered = outbox.Numbered(*(await connection.execute(_INSERT, values)).one())
    created = partial(AssetCreated, file_name=asset.file_name, content_type=asset.content_type, size=asset.size)
    await outbox.record(connection, asset.id, numbered, [created], traceparent=traceparent)


async def find_upload(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> Upload | None:
    """The upload that an asset waits for, or waited for; None if the tenant has no such asset."""
    row = (await connection.execute(_UPLOAD, {"tenant_id": tenant_id, "id": asset_id})).one_or_none()
    return None if row is None else Upload(AssetState(row.state), row.object_key, row.content_type, row.size)


async def complete_asset(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, etag: str, traceparent: str | None
) -> bool:
    """Move a pending asset to uploaded and make its primary job, its events and its dispatch.

    False, and nothing is written, if the asset is pending no more: somebody else has done it. `etag` pins the bytes.
    """
    values = {"tenant_id": tenant_id, "id": asset_id, "etag": etag, "traceparent": traceparent}
    row = (await connection.execute(_COMPLETE, values)).one_or_none()
    if row is None:
        return False
    *taken, kind, size = row
    numbered = outbox.Numbered(*taken)
    stage, job_id = PRIMARY_STAGE[MediaKind(kind)], uuid7()
    uploaded = partial(AssetUploaded, size=size, etag=etag)
    starting = partial(JobStarting, job_id=job_id, stage=stage)
    await outbox.record(connection, asset_id, numbered, [uploaded, starting], traceparent=traceparent)
    await make_job(
        connection, job_id=job_id, tenant_id=tenant_id, asset_id=asset_id, generation=row.generation, stage=stage,
        traceparent=traceparent,
    )  # fmt: skip
    return True
