"""Idempotency keys: which request of a tenant a key stands for, and what was answered to it.

A key is claimed before the work and done with it: in the transaction of its effect, so that there are both or neither,
where the work is one transaction that must not be repeated; in one of its own after it where it may be. A process that
dies in between leaves a claim that ends by itself, so that the client's retry does the work again (complete bears that
by its own nature; a presign leaves a pending asset behind that nobody uploads to).
"""

from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

KEPT_S = 86_400.0
"""How long an answer is repeated; afterwards the key is new."""

CLAIM_S = 120.0
"""How long a claim holds without an answer: longer than any request with a key is let take."""

# `headers` has the id of the API key that asked, where that matters: an answer of headers is not kept.
# A key that is too old, or whose claimant died, is taken over by the statement that finds it so: of many, one does.
_CLAIM = sa.text("""
    INSERT INTO idempotency_keys AS known (tenant_id, key, fingerprint, state, headers, created_at)
    VALUES (:tenant_id, :key, :fingerprint, 'running', to_jsonb(CAST(:asker AS text)), clock_timestamp())
    ON CONFLICT (tenant_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, state = 'running', status = NULL,
        headers = excluded.headers, body = NULL, created_at = excluded.created_at
    WHERE known.created_at < statement_timestamp() - :kept * interval '1 second'
        OR (known.state = 'running' AND known.fingerprint = excluded.fingerprint
            AND known.created_at < statement_timestamp() - :claim * interval '1 second')
    RETURNING created_at
""")
_READ = sa.text("""
    SELECT fingerprint, state, status, body, CAST(headers #>> '{}' AS uuid) AS asker FROM idempotency_keys
    WHERE tenant_id = :tenant_id AND key = :key
""")
_FINISH = sa.text("""
    UPDATE idempotency_keys SET state = 'done', status = :status, body = :body
    WHERE tenant_id = :tenant_id AND key = :key AND state = 'running' AND created_at = :token
""")
_RELEASE = sa.text("""
    DELETE FROM idempotency_keys
    WHERE tenant_id = :tenant_id AND key = :key AND state = 'running' AND created_at = :token
""")
_PURGE = sa.text("""
    DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
        SELECT tenant_id, key FROM idempotency_keys
        WHERE created_at < statement_timestamp() - :kept * interval '1 second'
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
""")


class Claim(NamedTuple):
    """The key is ours: do the work, then `finish` or `release` with this token."""

    token: datetime


class Answer(NamedTuple):
    """The key's work was done; this was answered, its body as the caller gave it (sealed). `asker`: as in `claim`."""

    status: int
    body: bytes
    asker: UUID | None = None


class Refusal(Enum):
    """Why a key cannot be used now."""

    RUNNING = "running"
    OTHER_REQUEST = "other_request"


async def claim(
    connection: AsyncConnection, tenant_id: UUID, key: str, fingerprint: bytes, *, asker: UUID | None = None
) -> Claim | Answer | Refusal:
    """Take the key for the request with this fingerprint (32 bytes), or learn what became of it.

    `asker` is the API key that the request comes with, if its answer is to tell it.
    """
    values = {
        "tenant_id": tenant_id, "key": key, "fingerprint": fingerprint, "kept": KEPT_S, "claim": CLAIM_S,
        "asker": None if asker is None else str(asker),
    }  # fmt: skip
    token = (await connection.execute(_CLAIM, values)).scalar_one_or_none()
    if token is not None:
        return Claim(token)
    row = (await connection.execute(_READ, {"tenant_id": tenant_id, "key": key})).one_or_none()
    if row is None:
        return Refusal.RUNNING  # released between the two statements: the client may try again
    if bytes(row.fingerprint) != fingerprint:
        return Refusal.OTHER_REQUEST
    return Answer(row.status, bytes(row.body), row.asker) if row.state == "done" else Refusal.RUNNING


async def finish(connection: AsyncConnection, tenant_id: UUID, key: str, mine: Claim, answer: Answer) -> bool:
    """Keep the answer; False, and nothing happens, if the claim was taken over."""
    values = {"tenant_id": tenant_id, "key": key, "token": mine.token, "status": answer.status, "body": answer.body}
    return (await connection.execute(_FINISH, values)).rowcount == 1


async def release(connection: AsyncConnection, tenant_id: UUID, key: str, mine: Claim) -> None:
    """Forget the claim: the request failed, and may be made again under the same key."""
    await connection.execute(_RELEASE, {"tenant_id": tenant_id, "key": key, "token": mine.token})


async def purge(connection: AsyncConnection, *, batch: int) -> int:
    """Delete some of what is too old to be repeated; returns how many. For the worker role."""
    return (await connection.execute(_PURGE, {"kept": KEPT_S, "batch": batch})).rowcount
