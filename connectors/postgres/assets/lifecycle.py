"""Assets as the API writes them: made by presign, sent and changed. Reads are in `views`, complete in `protocol`."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import outbox
from connectors.postgres.json_text import json_text
from connectors.postgres.placement.placements import kpart_of
from schemas.events import AssetCreated
from schemas.states import MediaKind
from schemas.topics import EVENTS

# The events partition is taken now and kept, so that an asset's events stay in order whatever is moved later.
# Both statements take the numbers of the events that go with them, which saves a round trip on the hottest paths.
_INSERT = sa.text(f"""
    INSERT INTO assets (id, tenant_id, state, event_seq, events_kpart, kind, file_name, content_type, size, object_key,
        traceparent, upload_expires_at, upload_id, expected_sha256, metadata, tags, profiles, created_by)
    SELECT id, :tenant_id, 'pending', 1, {kpart_of(":tenant_id", ":route", "new.id")}, kind, file_name, content_type,
        size, object_key, traceparent, upload_expires_at, upload_id, decode(expected_sha256, 'base64'), metadata, tags,
        profiles, created_by
    FROM jsonb_to_recordset(CAST(:assets AS jsonb)) AS new (id uuid, kind text, file_name text, content_type text,
        size bigint, object_key text, traceparent text, upload_expires_at timestamptz, upload_id text,
        expected_sha256 text, metadata jsonb, tags text[], profiles text[], created_by text)
    RETURNING id, {outbox.TAKEN}
""")  # noqa: S608 - made of constants
_UPLOAD = sa.text("""
    SELECT id, state, object_key, content_type, size, kind, expected_sha256, upload_id,
        upload_expires_at <= now() AS expired FROM assets
    WHERE tenant_id = :tenant_id AND id = ANY(:ids) AND state <> 'deleted'
""")
_EXTEND = sa.text("""
    UPDATE assets SET upload_expires_at = greatest(upload_expires_at, :expires_at)
    WHERE tenant_id = :tenant_id AND id = :id AND state = 'pending'
""")
_BEGIN_AGAIN = sa.text("""
    UPDATE assets SET upload_id = :newer
    WHERE tenant_id = :tenant_id AND id = :id AND upload_id = :older AND state = 'pending' RETURNING id
""")
_CHANGE = sa.text("""
    UPDATE assets SET metadata = coalesce(CAST(:metadata AS jsonb), metadata),
        tags = coalesce(CAST(:tags AS text[]), tags)
    WHERE tenant_id = :tenant_id AND id = :id AND state <> 'deleted' RETURNING id
""")


class NewAsset(msgspec.Struct, frozen=True, kw_only=True):
    """An announced upload: `size` in bytes, `object_key` where its bytes have to be put.

    `profiles` are those of the tenant's that are wanted of it; None: all. `created_by` is the actor who announces it.
    """

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
    profiles: tuple[str, ...] | None = None
    traceparent: str | None = None
    created_by: str | None = None


class Upload(NamedTuple):
    """What complete compares the stored object with; `upload_id` is the store's, of an upload in parts.

    `expired`: its last address has ended, so it counts as an open upload no more.
    """

    state: str  # of `schemas.states.AssetState`, or a newer release's
    object_key: str
    content_type: str
    size: int
    kind: str  # of `schemas.states.MediaKind`, or a newer release's
    expected_sha256: bytes | None
    upload_id: str | None
    expired: bool


async def create_assets(connection: AsyncConnection, tenant_id: UUID, assets: Sequence[NewAsset]) -> list[UUID]:
    """Write pending assets and their `asset.created`; returns their ids."""
    values = {"tenant_id": tenant_id, "route": EVENTS.route, "assets": json_text(assets)}
    taken = {row.id: outbox.Numbered(*row[1:]) for row in await connection.execute(_INSERT, values)}
    created = [
        outbox.Recorded(
            asset.id,
            taken[asset.id],
            [partial(AssetCreated, file_name=asset.file_name, content_type=asset.content_type, size=asset.size)],
            asset.traceparent,
        )
        for asset in assets
    ]
    await outbox.record_all(connection, created)
    return [asset.id for asset in assets]


async def find_upload(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> Upload | None:
    """The upload that an asset waits for, or waited for; None if the tenant has no such asset."""
    (found,) = await find_uploads(connection, tenant_id, [asset_id])
    return found


async def find_uploads(connection: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]) -> list[Upload | None]:
    """The same for many, in the order of the ids."""
    rows = await connection.execute(_UPLOAD, {"tenant_id": tenant_id, "ids": list(ids)})
    found = {row.id: _upload(row) for row in rows}
    return [found.get(asset_id) for asset_id in ids]


def _upload(row: sa.Row[Any]) -> Upload:
    sha256 = bytes(row.expected_sha256) if row.expected_sha256 is not None else None
    return Upload(
        row.state, row.object_key, row.content_type, row.size, row.kind, sha256, row.upload_id,
        row.expired,
    )  # fmt: skip


async def extend_upload(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, expires_at: datetime) -> None:
    """Let a pending upload count as open until its newest address ends."""
    await connection.execute(_EXTEND, {"tenant_id": tenant_id, "id": asset_id, "expires_at": expires_at})


async def begin_again(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, older: str, newer: str) -> bool:
    """Give a pending upload in parts another one of the store's; False if somebody else has."""
    values = {"tenant_id": tenant_id, "id": asset_id, "older": older, "newer": newer}
    return (await connection.execute(_BEGIN_AGAIN, values)).one_or_none() is not None


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
        "metadata": None if metadata is None else json_text(metadata),
    }  # fmt: skip
    return (await connection.execute(_CHANGE, values)).one_or_none() is not None
