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
    SELECT id, at, actor, action, tenant_id, subject, detail FROM audit_log
    WHERE (CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id)
        AND (CAST(:action AS text) IS NULL OR action = :action)
    ORDER BY at DESC, id DESC LIMIT :limit
""")


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `actor` is a key's prefix, or user@host of an operator; `subject` what was acted on, often an id."""

    id: UUID
    at: datetime
    actor: str
    action: str
    tenant_id: UUID | None
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
    connection: AsyncConnection, *, limit: int, tenant_id: UUID | None = None, action: str | None = None
) -> tuple[AuditEntry, ...]:
    """The newest entries, newest first."""
    values = {"limit": limit, "tenant_id": tenant_id, "action": action}
    return tuple(AuditEntry(**row) for row in (await connection.execute(_LIST, values)).mappings())


def operator() -> str:
    """Who runs a command on this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
