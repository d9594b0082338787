"""Assets as the API writes them: made by presign, handed to the pipeline by complete. Reads are in `asset_views`."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.credits import make_job
from connectors.postgres.placements import kpart_of
from schemas.events import AssetCreated, AssetUploaded, JobStarting
from schemas.ids import uuid7
from schemas.states import PRIMARY_STAGE, AssetState, MediaKind
from schemas.topics import EVENTS

# The events partition is taken now and kept, so that an asset's events stay in order whatever is moved later.
# Both statements take the numbers of the events that go with them, which saves a round trip on the hottest paths.
_INSERT = sa.text(f"""
    INSERT INTO assets (id, tenant_id, state, event_seq, events_kpart, kind, file_name, content_type, size, object_key,
        traceparent, upload_expires_at, upload_id, expected_sha256, metadata, tags)
    VALUES (:id, :tenant_id, 'pending', 1,
        {kpart_of(":tenant_id", ":route", ":id")},
        :kind, :file_name, :content_type, :size, :object_key, :traceparent, :upload_expires_at, :upload_id,
        :expected_sha256, CAST(:metadata AS jsonb), :tags)
    RETURNING {outbox.TAKEN}
""")  # noqa: S608 - made of constants
_UPLOAD = sa.text("""
    SELECT state, object_key, content_type, size, kind, expected_sha256, upload_id FROM assets
    WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted'
""")
_EXTEND = sa.text("""
    UPDATE assets SET upload_expires_at = greatest(upload_expires_at, :expires_at)
    WHERE tenant_id = :tenant_id AND id = :id AND state = 'pending'
""")
_CHANGE = sa.text("""
    UPDATE assets SET metadata = coalesce(CAST(:metadata AS jsonb), metadata),
        tags = coalesce(CAST(:tags AS text[]), tags)
    WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted' RETURNING id
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
    upload_expires_at: datetime
    upload_id: str | None = None
    expected_sha256: bytes | None = None
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()


class Upload(NamedTuple):
    """What complete compares the stored object with; `upload_id` is the store's, of an upload in parts."""

    state: AssetState
    object_key: str
    content_type: str
    size: int
    kind: MediaKind
    expected_sha256: bytes | None
    upload_id: str | None


async def create_asset(
    connection: AsyncConnection, tenant_id: UUID, asset: NewAsset, *, traceparent: str | None
) -> None:
    """Write a pending asset and its `asset.created`."""
    values = msgspec.structs.asdict(asset) | {
        "tenant_id": tenant_id, "kind": asset.kind.value, "route": EVENTS.route, "traceparent": traceparent,
        "metadata": msgspec.json.encode(asset.metadata).decode() if asset.metadata else "{}", "tags": list(asset.tags),
    }  # fmt: skip
    numbered = outbox.Numbered(*(await connection.execute(_INSERT, values)).one())
    created = partial(AssetCreated, file_name=asset.file_name, content_type=asset.content_type, size=asset.size)
    await outbox.record(connection, asset.id, numbered, [created], traceparent=traceparent)


async def find_upload(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> Upload | None:
    """The upload that an asset waits for, or waited for; None if the tenant has no such asset."""
    row = (await connection.execute(_UPLOAD, {"tenant_id": tenant_id, "id": asset_id})).one_or_none()
    if row is None:
        return None
    sha256 = bytes(row.expected_sha256) if row.expected_sha256 is not None else None
    return Upload(
        AssetState(row.state), row.object_key, row.content_type, row.size, MediaKind(row.kind), sha256, row.upload_id
    )


async def extend_upload(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, expires_at: datetime) -> None:
    """Let a pending upload count as open until its newest address ends."""
    await connection.execute(_EXTEND, {"tenant_id": tenant_id, "id": asset_id, "expires_at": expires_at})


async def change_asset(
    connection: AsyncConnection,
    tenant_id: UUID,
    asset_id: UUID,
    *,
    metadata: dict[str, str] | None,
    tags: Sequence[str] | None,
) -> bool:
    """Replace the metadata or the tags, or both; False if the tenant has no such asset."""
    values = {
        "tenant_id": tenant_id, "id": asset_id, "tags": None if tags is None else list(tags),
        "metadata": None if metadata is None else msgspec.json.encode(metadata).decode(),
    }  # fmt: skip
    return (await connection.execute(_CHANGE, values)).one_or_none() is not None


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
