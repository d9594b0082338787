"""What a tenant's callers do, in the audit log."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres import audit
from connectors.postgres.accounts.keys import Principal


async def note(
    connection: AsyncConnection, who: Principal, action: str, subject: UUID | str, detail: Mapping[str, object]
) -> None:
    """Write it in the transaction that does it; `subject` is what was acted on, or empty."""
    await audit.note(
        connection, actor=who.actor, action=action, tenant_id=who.tenant_id, subject=str(subject), detail=detail
    )
