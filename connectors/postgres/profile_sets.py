"""Which profiles tenants have chosen: one row for each that has chosen any."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.profile_sets import MOST_TARGET_BYTES, ProfileChoice

_READ = sa.text("SELECT choice FROM profile_sets WHERE tenant_id = :tenant_id")
_SAVE = sa.text("""
    INSERT INTO profile_sets (tenant_id, choice) VALUES (:tenant_id, :choice)
    ON CONFLICT (tenant_id) DO UPDATE SET choice = excluded.choice, updated_at = now()
""").bindparams(sa.bindparam("choice", type_=sa.JSON))


async def read_choice(connection: AsyncConnection, tenant_id: UUID) -> ProfileChoice | None:
    """What the tenant has chosen; None if it never has."""
    found = (await connection.execute(_READ, {"tenant_id": tenant_id})).scalar_one_or_none()
    return None if found is None else msgspec.convert(_readable(found), ProfileChoice)


async def save_choice(connection: AsyncConnection, tenant_id: UUID, choice: ProfileChoice) -> None:
    """Keep a choice that `schemas.profile_sets.resolve` has accepted; jobs that begin from now on follow it."""
    await connection.execute(_SAVE, {"tenant_id": tenant_id, "choice": msgspec.to_builtins(choice)})


def _readable(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice that an earlier release kept, which took a newline at a name's end and targets that no job can have."""
    own = {each["name"].removesuffix("\n"): each for each in choice.get("own", ())}
    return choice | {"own": [each | {"name": name} | _bounded(each) for name, each in own.items()]}


def _bounded(own: dict[str, Any]) -> dict[str, Any]:
    target = own.get("targetBytes")
    return {} if target is None else {"targetBytes": min(target, MOST_TARGET_BYTES)}
