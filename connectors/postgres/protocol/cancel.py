"""Cancel and delete: an asset's open jobs end here and now, whoever works on them.

The epoch moves, so a running child is fenced: at its worker's next heartbeat the lease does not come back, and the
child is killed. Whatever it still writes until then changes nothing. Locks: asset, content, jobs, tenant.
"""

from collections import Counter
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit, outbox
from connectors.postgres.accounts.allowances import Space, give_back
from connectors.postgres.protocol.content import hand_on
from connectors.postgres.protocol.credits import pass_on_topics
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import AssetCancelled, AssetDeleted
from schemas.states import AssetState

_LOCK = sa.text("""
    SELECT state, size FROM assets WHERE id = :id AND tenant_id = :tenant_id AND state <> 'deleted' FOR NO KEY UPDATE
""")
_LEADERS = sa.text("""
    SELECT id, content_sha256, stage FROM jobs
    WHERE asset_id = :id AND state IN ('waiting', 'queued', 'running') AND content_sha256 IS NOT NULL ORDER BY id
""")
_STOP = sa.text("""
    WITH open AS (
        SELECT id, state FROM jobs WHERE asset_id = :id AND state IN ('waiting', 'queued', 'running')
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE jobs SET state = 'cancelled', reason = NULL, due_at = NULL, owner = NULL, lease_until = NULL,
        next_emit_at = NULL, epoch = epoch + 1, finished_at = clock_timestamp()
    FROM open WHERE jobs.id = open.id
    RETURNING jobs.topic, open.state IN ('queued', 'running') AS held_credit
""")
_CANCELLED = sa.text("UPDATE assets SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = :id")
_DELETED = sa.text("UPDATE assets SET state = 'deleted', deleted_at = clock_timestamp() WHERE id = :id")

_UNDER_WAY = (AssetState.UPLOADED, AssetState.PROCESSING)


async def cancel_asset(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, actor: str, traceparent: str | None = None
) -> int:
    """Stop what is being done for an asset; returns how many jobs ended by it.

    An asset that was on its way becomes `cancelled`, with its event; one that is ready stays so, and only its further
    jobs end. Raises `MedialaneError`: not_found, or conflict if nothing was left to stop.
    """
    state, _ = await lock_asset(connection, tenant_id, asset_id)
    stopped = await stop_jobs(connection, tenant_id, asset_id)
    if state in _UNDER_WAY:
        await connection.execute(_CANCELLED, {"id": asset_id})
        await outbox.emit(connection, asset_id, [AssetCancelled], traceparent=traceparent)
    elif not stopped:
        raise MedialaneError(ErrorCode.CONFLICT, f"The asset is {state}: there is nothing to cancel.")
    await audit.note(
        connection, actor=actor, action="asset.cancel", tenant_id=tenant_id, subject=str(asset_id),
        detail={"state": state, "jobs": stopped},
    )  # fmt: skip
    return stopped


async def delete_asset(
    connection: AsyncConnection, tenant_id: UUID, asset_id: UUID, *, actor: str, traceparent: str | None = None
) -> int:
    """Make an asset gone for its tenant at once; its objects are removed later (`connectors.postgres.assets.purge`).

    Its room in the quota is given back, whoever deletes it. Returns how many jobs ended by it. Raises
    `MedialaneError(not_found)`, also for what is deleted already.
    """
    state, size = await lock_asset(connection, tenant_id, asset_id)
    stopped = await stop_jobs(connection, tenant_id, asset_id)
    await connection.execute(_DELETED, {"id": asset_id})
    await outbox.emit(connection, asset_id, [AssetDeleted], traceparent=traceparent)
    await give_back(connection, tenant_id, Space(1, size))
    await audit.note(
        connection, actor=actor, action="asset.delete", tenant_id=tenant_id, subject=str(asset_id),
        detail={"state": state, "jobs": stopped},
    )  # fmt: skip
    return stopped


async def stop_jobs(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> int:
    """End an asset's open jobs in `cancelled` and pass on their credit; the caller has locked the asset.

    Returns how many; those of stages that only a newer release knows are ended as any. A job that joins its content at
    this very moment may leave it without a leader: its twins look again by themselves after a while.
    """
    for job in (await connection.execute(_LEADERS, {"id": asset_id})).all():
        await hand_on(connection, tenant_id, bytes(job.content_sha256), job.id, job.stage)
    rows = (await connection.execute(_STOP, {"id": asset_id})).all()
    freed = Counter((tenant_id, row.topic) for row in rows if row.held_credit)
    if freed:
        await pass_on_topics(connection, freed)
    return len(rows)


async def lock_asset(connection: AsyncConnection, tenant_id: UUID, asset_id: UUID) -> tuple[str, int]:
    """The asset's state and size in bytes; nobody else changes it in this transaction. Raises not_found."""
    found = (await connection.execute(_LOCK, {"id": asset_id, "tenant_id": tenant_id})).one_or_none()
    if found is None:
        raise MedialaneError(ErrorCode.NOT_FOUND)
    return found.state, found.size
