"""The audit log: who did what, written in the transaction that did it."""

import getpass
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.ids import uuid7

_INSERT = sa.text("""
    INSERT INTO audit_log (id, actor, action, tenant_id, subject, detail)
    VALUES (:id, :actor, :action, :tenant_id, :subject, :detail)
""").bindparams(sa.bindparam("detail", type_=sa.JSON))
_LIST = sa.text("""
    SELECT a.id, a.at, a.actor, a.action, a.tenant_id, t.slug AS tenant, a.subject, a.detail
    FROM audit_log a LEFT JOIN tenants t ON t.id = a.tenant_id
    WHERE (CAST(:tenant_id AS uuid) IS NULL OR a.tenant_id = :tenant_id)
        AND (CAST(:action AS text) IS NULL OR a.action = :action)
        AND (CAST(:since AS timestamptz) IS NULL OR a.at >= :since)
    ORDER BY a.at DESC, a.id DESC LIMIT :limit
""")
_PURGE = sa.text("SELECT audit_log_purge(:kept * interval '1 second', :batch)")


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `actor` is a key's prefix, or user@host of an operator; `subject` what was acted on, often an id.

    `tenant` is the tenant's slug; None if the act was no tenant's, or its tenant was removed since.
    """

    id: UUID
    at: datetime
    actor: str
    action: str
    tenant_id: UUID | None
    tenant: str | None
    subject: str
    detail: dict[str, Any]


async def note(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    tenant_id: UUID | None = None,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write an entry. `action` is a noun and a verb (`dlq.replay`); `detail` is JSON and never holds a secret."""
    values = {
        "id": uuid7(), "actor": actor, "action": action, "tenant_id": tenant_id, "subject": subject,
        "detail": dict(detail or {}),
    }  # fmt: skip
    await connection.execute(_INSERT, values)


async def read(
    connection: AsyncConnection,
    *,
    limit: int,
    tenant_id: UUID | None = None,
    action: str | None = None,
    since: datetime | None = None,
) -> tuple[AuditEntry, ...]:
    """The newest entries, newest first; `since` that time, if it is given."""
    values = {"limit": limit, "tenant_id": tenant_id, "action": action, "since": since}
    return tuple(AuditEntry(**row) for row in (await connection.execute(_LIST, values)).mappings())


async def purge(connection: AsyncConnection, *, kept_s: float, batch: int) -> int:
    """Delete some of the entries that are older than `kept_s` (30 days at least), the oldest first; how many.

    For the worker role, which may delete no others.
    """
    deleted: int = (await connection.execute(_PURGE, {"kept": kept_s, "batch": batch})).scalar_one()
    return deleted


def operator() -> str:
    """Who runs a command on this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
