"""What follows a delete, much later: which objects may go from the store, while nobody adopts them.

A deleted asset is purged once every lease that could still be believed in must be over. Objects of its content go only
when nothing else of the tenant refers to the same bytes; while they go, the content's row is marked, and a job that
meets these bytes waits. Each step may be repeated: whoever crashes between two of them is followed by the next round.
The rows follow a week later.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit

PURGE_BOUND_S = 300.0
"""How long a keeper may remove objects of a content; after twice this time the mark counts as left by a crash."""

KEPT_S = 7 * 86_400.0
"""How long the rows of a purged asset are kept: as long as Kafka keeps its events."""

_SHA256_BYTES = 32

PURGING = f"coalesce(purging_at > clock_timestamp() - interval '{2 * PURGE_BOUND_S} seconds', false)"
"""SQL: whether objects of a content are being removed, so that nothing may be adopted from the store."""

_DUE = sa.text("""
    SELECT deleted_at, id FROM assets WHERE state = 'deleted' AND purged_at IS NULL
        AND deleted_at < statement_timestamp() - :bound * interval '1 second'
        AND (deleted_at, id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS uuid))
    ORDER BY deleted_at, id LIMIT :batch
""")
_LOCK = sa.text("""
    SELECT tenant_id, object_key, upload_id, content_sha256 FROM assets
    WHERE id = :id AND state = 'deleted' AND purged_at IS NULL FOR NO KEY UPDATE SKIP LOCKED
""")
_CONTENTS = sa.text("""
    SELECT content_sha256 FROM (
        SELECT content_sha256 FROM assets WHERE id = :id
        UNION SELECT content_sha256 FROM jobs WHERE asset_id = :id
        UNION SELECT content_sha256 FROM variants WHERE asset_id = :id
    ) AS known WHERE content_sha256 IS NOT NULL ORDER BY 1
""")
# Makes the row if there is none: whoever joins the content takes the same lock. It has no leader then. None is made
# where the tenant is gone, whose workers may have stored objects to the last: nobody can adopt these.
_LOCK_CONTENT = sa.text(f"""
    INSERT INTO content (tenant_id, sha256, state, leader_job_id)
    SELECT id, :sha256, 'open', '00000000-0000-0000-0000-000000000000' FROM tenants WHERE id = :tenant_id FOR KEY SHARE
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET updated_at = now()
    RETURNING {PURGING} AS taken
""")  # noqa: S608 - made of constants
# A statement of its own, after the lock: it has to see what was committed while this transaction waited for that.
_IN_USE = sa.text("""
    SELECT EXISTS (SELECT FROM assets WHERE tenant_id = :tenant_id AND content_sha256 = :sha256 AND id <> :id
                   AND purged_at IS NULL)
        OR EXISTS (SELECT FROM variants WHERE tenant_id = :tenant_id AND content_sha256 = :sha256 AND asset_id <> :id)
        OR EXISTS (SELECT FROM jobs WHERE tenant_id = :tenant_id AND content_sha256 = :sha256 AND asset_id <> :id
                   AND state IN ('waiting', 'queued', 'running'))
""")
_BUSY = sa.text("""
    SELECT EXISTS (SELECT FROM jobs WHERE tenant_id = :tenant_id AND content_sha256 = :sha256
                   AND state IN ('waiting', 'queued', 'running'))
""")
_MARK = sa.text("""
    UPDATE content SET purging_at = CASE WHEN :going THEN clock_timestamp() END
    WHERE tenant_id = :tenant_id AND sha256 = :sha256
""")
_DROP_UNLED = sa.text("""
    DELETE FROM content WHERE tenant_id = :tenant_id AND sha256 = :sha256
        AND leader_job_id = '00000000-0000-0000-0000-000000000000'
""")
_FORGET_VARIANTS = sa.text("DELETE FROM variants WHERE asset_id = :id")
_FORGET_CONTENT = sa.text(f"""
    DELETE FROM content WHERE tenant_id = :tenant_id AND sha256 = :sha256 AND {PURGING}
""")  # noqa: S608 - made of constants
_PURGED = sa.text("""
    UPDATE assets SET purged_at = clock_timestamp(), file_name = '', metadata = '{}', tags = '{}', upload_id = NULL
    WHERE id = :id AND purged_at IS NULL RETURNING tenant_id
""")
_FORGET = sa.text("""
    DELETE FROM assets WHERE id IN (
        SELECT id FROM assets WHERE purged_at < statement_timestamp() - :kept * interval '1 second'
        ORDER BY purged_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")
_SOURCES = sa.text("SELECT object_key FROM assets WHERE object_key = ANY(:keys) AND purged_at IS NULL")
# By the contents that the keys name: variants are found by those. Beside a variant's own object lie its parts, in the
# folder that its key names.
_VARIANTS = sa.text("""
    WITH made AS (
        SELECT v.object_key, v.parts
        FROM unnest(CAST(:tenants AS uuid[]), CAST(:contents AS bytea[])) AS wanted (tenant_id, sha256)
            JOIN variants v ON v.tenant_id = wanted.tenant_id AND v.content_sha256 = wanted.sha256
    )
    SELECT object_key FROM made
    UNION SELECT left(object_key, length(object_key) - strpos(reverse(object_key), '/') + 1) || (part ->> 'name')
    FROM made, jsonb_array_elements(parts) AS part
""")


class Due(NamedTuple):
    """An asset that may be purged, and when it was deleted."""

    deleted_at: datetime
    asset_id: UUID


FIRST = Due(datetime.min.replace(tzinfo=UTC), UUID(int=0))
"""Before every asset that is due."""


class Going(NamedTuple):
    """What has to be removed from the store for an asset: its source, and everything under these prefixes."""

    asset_id: UUID
    tenant_id: UUID
    source: str
    upload_id: str | None
    contents: tuple[bytes, ...]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Where the variants of its contents stand."""
        return tuple(content_prefix(self.tenant_id, sha256) for sha256 in self.contents)


def content_prefix(tenant_id: UUID, sha256: bytes) -> str:
    """Where the variants of a tenant's content stand in the store."""
    return f"media/{tenant_id}/{sha256.hex()}/"


def content_of(key: str) -> tuple[UUID, bytes] | None:
    """Tenant and SHA-256 of the key of a variant or of a part of one, None for a source's or a strange one."""
    names = key.split("/")
    if len(names) not in {4, 5} or names[0] != "media":
        return None
    try:
        tenant_id, sha256 = UUID(names[1]), bytes.fromhex(names[2])
    except ValueError:
        return None
    return (tenant_id, sha256) if len(sha256) == _SHA256_BYTES else None


async def due(connection: AsyncConnection, *, bound_s: float, batch: int, after: Due = FIRST) -> Sequence[Due]:
    """Assets that were deleted longer ago than any lease lasts, with the time that a kill takes: those after one."""
    values = {"bound": bound_s, "batch": batch, "after_time": after.deleted_at, "after_id": after.asset_id}
    return [Due(*row) for row in await connection.execute(_DUE, values)]


async def begin(connection: AsyncConnection, asset_id: UUID) -> Going | None:
    """Decide what goes with an asset, and keep others from adopting it; None if another keeper is at it.

    From here on the caller has `PURGE_BOUND_S` seconds to remove objects.
    """
    row = (await connection.execute(_LOCK, {"id": asset_id})).one_or_none()
    if row is None:
        return None
    going = []
    for sha256 in (await connection.execute(_CONTENTS, {"id": asset_id})).scalars():
        key = {"tenant_id": row.tenant_id, "sha256": sha256}
        if await _taken(connection, row.tenant_id, sha256):
            return None
        in_use: bool = (await connection.execute(_IN_USE, key | {"id": asset_id})).scalar_one()
        await connection.execute(_MARK, key | {"going": not in_use})
        if not in_use:
            going.append(bytes(sha256))
    await connection.execute(_FORGET_VARIANTS, {"id": asset_id})
    return Going(asset_id, row.tenant_id, row.object_key, row.upload_id, tuple(going))


async def finish(connection: AsyncConnection, going: Going, *, objects: int, actor: str) -> None:
    """The objects are gone: forget their content, and what the asset's row still told of its owner's file."""
    if (await connection.execute(_PURGED, {"id": going.asset_id})).one_or_none() is None:
        return
    for sha256 in going.contents:
        await connection.execute(_FORGET_CONTENT, {"tenant_id": going.tenant_id, "sha256": sha256})
    await audit.note(
        connection, actor=actor, action="asset.purge", tenant_id=going.tenant_id, subject=str(going.asset_id),
        detail={"objects": objects},
    )  # fmt: skip


async def forget(connection: AsyncConnection, *, batch: int) -> int:
    """Delete the rows of some assets that were purged long ago, and with each its jobs, dead letters and timeline.

    Returns how many assets that were.
    """
    return (await connection.execute(_FORGET, {"kept": KEPT_S, "batch": batch})).rowcount


async def orphans(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, bool]:
    """Those of the keys that no row refers to, in their order, and whether each is strange: of an upload of which no
    row knows anything. The others are variants that were made anew.
    """
    known = set((await connection.execute(_SOURCES, {"keys": list(keys)})).scalars())
    contents = list({found for found in map(content_of, keys) if found is not None})
    if contents:
        values = {"tenants": [tenant for tenant, _ in contents], "contents": [sha256 for _, sha256 in contents]}
        known |= set((await connection.execute(_VARIANTS, values)).scalars())
    lively = {content_of(key) for key in known} - {None}
    return {key: content_of(key) not in lively for key in keys if key not in known}


async def hold_content(connection: AsyncConnection, tenant_id: UUID, sha256: bytes) -> bool:
    """Mark a content while an object of it is removed: jobs that meet it wait. False: a job or a purge is at it.

    Of a tenant that is gone there is nothing to mark, and nobody to wait.
    """
    key = {"tenant_id": tenant_id, "sha256": sha256}
    if await _taken(connection, tenant_id, sha256):
        return False
    busy: bool = (await connection.execute(_BUSY, key)).scalar_one()
    if not busy:
        await connection.execute(_MARK, key | {"going": True})
    return not busy


async def let_go_of_content(connection: AsyncConnection, tenant_id: UUID, sha256: bytes) -> None:
    """Take the mark off."""
    key = {"tenant_id": tenant_id, "sha256": sha256}
    await connection.execute(_MARK, key | {"going": False})
    await connection.execute(_DROP_UNLED, key)


async def _taken(connection: AsyncConnection, tenant_id: UUID, sha256: bytes) -> bool:
    values = {"tenant_id": tenant_id, "sha256": sha256}
    taken: bool | None = (await connection.execute(_LOCK_CONTENT, values)).scalar_one_or_none()
    return bool(taken)
