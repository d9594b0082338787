"""Content: bytes that a tenant uploads again cost no processing.

The first job to meet the bytes leads; others with the same bytes are its twins and wait in their rows. Parking and the
leader's end both lock the content row, so a twin can not fall asleep just after the wake-up.
"""

from enum import Enum
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import OF_THE_CONTENT, ErrorCode

TWIN_CHECK_S = 60.0
"""How long a twin sleeps at most before it looks again, should its leader have vanished without a word."""

PURGE_CHECK_S = 5.0
"""How long a job waits for the removal of old objects of its content before it looks again."""


class Role(Enum):
    """What a job is to its content."""

    LEADER = "leader"  # process it
    REUSE = "reuse"  # everything was made already
    TWIN = "twin"  # another job is at it: wait
    DOOMED = "doomed"  # these bytes failed for good


class Decision(NamedTuple):
    """A role, with the facts of finished content or the reason of failed content."""

    role: Role
    facts: tuple[int, int, float | None] | None = None
    code: ErrorCode | None = None
    detail: str = ""


_JOIN = sa.text("""
    INSERT INTO content (tenant_id, sha256, state, leader_job_id) VALUES (:tenant_id, :sha256, 'open', :job_id)
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET updated_at = now()
    RETURNING state, leader_job_id, width, height, duration_s, error_code, error_detail, purging_at
""")
_LEADER_ALIVE = sa.text("SELECT 1 FROM jobs WHERE id = :job_id AND state IN ('waiting', 'queued', 'running')")
_TAKE_OVER = sa.text("""
    UPDATE content SET leader_job_id = :job_id, state = 'open' WHERE tenant_id = :tenant_id AND sha256 = :sha256
""")
_REOPEN = sa.text("""
    UPDATE content SET leader_job_id = :job_id, state = 'open', error_code = NULL, error_detail = NULL
    WHERE tenant_id = :tenant_id AND sha256 = :sha256 AND state = 'failed'
""")
_REMEMBER = sa.text("""
    UPDATE jobs SET content_sha256 = :sha256 WHERE id = :job_id AND epoch = :epoch AND state = 'running' RETURNING id
""")
_PARK = sa.text("""
    UPDATE jobs SET state = 'waiting', reason = 'twin', content_sha256 = :sha256, owner = NULL, lease_until = NULL,
        due_at = clock_timestamp() + :check * interval '1 second'
    WHERE id = :job_id AND epoch = :epoch AND state = 'running' RETURNING id
""")
_CLOSE = sa.text("""
    UPDATE content SET state = :state, width = :width, height = :height, duration_s = :duration_s, error_code = :code,
        error_detail = :detail, updated_at = now()
    WHERE tenant_id = :tenant_id AND sha256 = :sha256 AND leader_job_id = :job_id RETURNING 1
""")
_WAKE = sa.text("""
    UPDATE jobs SET due_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND content_sha256 = :sha256 AND state = 'waiting' AND reason = 'twin'
""")
_PROMOTE = sa.text("""
    WITH heir AS (
        SELECT id FROM jobs WHERE tenant_id = :tenant_id AND content_sha256 = :sha256 AND state = 'waiting'
            AND reason = 'twin' ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    ), led AS (
        UPDATE content SET leader_job_id = heir.id FROM heir
        WHERE tenant_id = :tenant_id AND sha256 = :sha256 AND leader_job_id = :job_id RETURNING heir.id
    )
    UPDATE jobs SET due_at = clock_timestamp() FROM led WHERE jobs.id = led.id
""")


async def hand_on(connection: AsyncConnection, tenant_id: UUID, sha256: bytes, job_id: UUID) -> None:
    """Make the oldest twin leader in a leader's place that goes without having closed the content."""
    await connection.execute(_PROMOTE, {"tenant_id": tenant_id, "sha256": sha256, "job_id": job_id})


async def reopen(connection: AsyncConnection, tenant_id: UUID, sha256: bytes, job_id: UUID) -> None:
    """Let a job try bytes again that failed for good; does nothing if they did not."""
    await connection.execute(_REOPEN, {"tenant_id": tenant_id, "sha256": sha256, "job_id": job_id})


async def join_content(
    connection: AsyncConnection, *, tenant_id: UUID, sha256: bytes, job_id: UUID, epoch: int
) -> Decision | None:
    """Decide what the job is to these bytes; a twin is parked in the same transaction. None: the job is fenced."""
    key = {"tenant_id": tenant_id, "sha256": sha256}
    row = (await connection.execute(_JOIN, key | {"job_id": job_id})).one()
    held = {"job_id": job_id, "epoch": epoch, "sha256": sha256}
    if row.purging_at is not None:
        # What stands in the store is about to go: nothing may be adopted from it.
        parked = await connection.execute(_PARK, held | {"check": PURGE_CHECK_S})
        return Decision(Role.TWIN) if parked.one_or_none() else None
    if row.leader_job_id != job_id and row.state == "open":
        if (await connection.execute(_LEADER_ALIVE, {"job_id": row.leader_job_id})).one_or_none():
            parked = await connection.execute(_PARK, held | {"check": TWIN_CHECK_S})
            return Decision(Role.TWIN) if parked.one_or_none() else None
        await connection.execute(_TAKE_OVER, key | {"job_id": job_id})
    if (await connection.execute(_REMEMBER, held)).one_or_none() is None:
        return None
    if row.state == "done":
        return Decision(Role.REUSE, facts=(row.width, row.height, row.duration_s))
    if row.state == "failed":
        return Decision(Role.DOOMED, code=ErrorCode(row.error_code), detail=row.error_detail)
    return Decision(Role.LEADER)


async def close_content(
    connection: AsyncConnection,
    tenant_id: UUID,
    sha256: bytes,
    job_id: UUID,
    *,
    facts: tuple[int, int, float | None] | None = None,
    code: ErrorCode | None = None,
    detail: str | None = None,
) -> None:
    """The leader's end: make its twins due, or, where the bytes are not to blame, make the oldest twin leader.

    Does nothing for a job that does not lead.
    """
    key = {"tenant_id": tenant_id, "sha256": sha256}
    if code is not None and code not in OF_THE_CONTENT:
        await connection.execute(_PROMOTE, key | {"job_id": job_id})
        return
    width, height, duration_s = facts or (None, None, None)
    values = key | {
        "job_id": job_id, "state": "failed" if code else "done", "code": code, "detail": detail,
        "width": width, "height": height, "duration_s": duration_s,
    }  # fmt: skip
    if (await connection.execute(_CLOSE, values)).one_or_none():
        await connection.execute(_WAKE, key)
