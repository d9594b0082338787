"""Which profiles tenants have chosen: one row for each that has chosen any."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.kept_choices import KeptChoice, read_kept, write_kept
from schemas.profile_sets import ProfileChoice

_READ = sa.text("SELECT choice FROM profile_sets WHERE tenant_id = :tenant_id")
_SAVE = sa.text("""
    INSERT INTO profile_sets (tenant_id, choice) VALUES (:tenant_id, :choice)
    ON CONFLICT (tenant_id) DO UPDATE SET choice = excluded.choice, updated_at = now()
""").bindparams(sa.bindparam("choice", type_=sa.JSON))


async def read_choice(connection: AsyncConnection, tenant_id: UUID) -> KeptChoice | None:
    """What the tenant has chosen, as far as this release understands it; None if it never has."""
    found = (await connection.execute(_READ, {"tenant_id": tenant_id})).scalar_one_or_none()
    return None if found is None else read_kept(found)


async def save_choice(connection: AsyncConnection, tenant_id: UUID, choice: ProfileChoice) -> None:
    """Keep a choice that `schemas.profile_sets.resolve` has accepted; jobs that begin from now on follow it."""
    await connection.execute(_SAVE, {"tenant_id": tenant_id, "choice": write_kept(choice)})
